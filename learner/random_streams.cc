#include "learner/random_streams.h"

#include <algorithm>
#include <numeric>

#include "common/diffusion/noise.h"

namespace flowawr {
namespace {

// The finaliser of SplitMix64: a bijection that spreads every bit.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t RandomStream(RandomUse use, uint64_t a, uint64_t b, uint64_t c) {
  return Mix(Mix(Mix(Mix(static_cast<uint64_t>(use)) ^ a) ^ b) ^ c);
}

uint64_t TrainingNoiseSeed(uint64_t run_seed) {
  return CounterRng(run_seed, RandomStream(RandomUse::kTrainingNoise)).Next();
}

std::vector<int> DrawSigmas(uint64_t run_seed, uint64_t update, uint64_t group, uint64_t sample, int choices,
                            int count) {
  CounterRng rng(run_seed, RandomStream(RandomUse::kSigmas, update, group, sample));
  std::vector<int> indices(choices);
  std::iota(indices.begin(), indices.end(), 0);
  count = std::min(count, choices);
  for (int i = 0; i < count; ++i) std::swap(indices[i], indices[i + rng.Below(choices - i)]);
  indices.resize(count);
  std::sort(indices.begin(), indices.end());
  return indices;
}

}  // namespace flowawr
