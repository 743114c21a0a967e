#include "common/diffusion/noise.h"

#include <torch/types.h>

#include <array>
#include <cmath>

#include "common/diffusion/philox.h"

namespace flowawr {
namespace {

constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// The counter's first word: step + 1, 0 for the initial noise, then the number of a block of four values.
constexpr int kBlockBits = 22;

// The blocks of one sample and step, or of its initial noise.
struct Blocks {
  uint64_t seed, group_id;
  uint32_t sample;
  int64_t first;

  std::array<uint32_t, 4> Words(int64_t block) const {
    return Philox4x32({Low(first + block), sample, Low(group_id), High(group_id)}, {Low(seed), High(seed)});
  }
};

Blocks BlocksOfStep(uint64_t seed, uint64_t group_id, uint32_t sample, int step, int64_t count) {
  TORCH_CHECK(step >= 0 && step < (1 << (32 - kBlockBits)) - 1, "no step number ", step);
  TORCH_CHECK(count <= int64_t{4} << kBlockBits, "too many values of one step: ", count);
  return {seed, group_id, sample, int64_t{step + 1} << kBlockBits};
}

// Box-Muller, of a pair of words.
double RadiusSquared(uint32_t word) { return -2 * std::log((word + 0.5) * 0x1p-32); }
double Angle(uint32_t word) { return 2 * M_PI * (word + 0.5) * 0x1p-32; }

at::Tensor NormalNoise(const Blocks& blocks, at::IntArrayRef shape) {
  at::Tensor noise = at::empty(shape, at::kFloat);
  float* values = noise.data_ptr<float>();
  const int64_t count = noise.numel();
  for (int64_t block = 0; block * 4 < count; ++block) {
    const auto words = blocks.Words(block);
    for (int pair = 0; pair < 2; ++pair) {
      const double radius = std::sqrt(RadiusSquared(words[2 * pair]));
      const double angle = Angle(words[2 * pair + 1]);
      const int64_t at = block * 4 + pair * 2;
      if (at < count) values[at] = static_cast<float>(radius * std::cos(angle));
      if (at + 1 < count) values[at + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
  return noise;
}

}  // namespace

at::Tensor InitialNoise(uint64_t seed, uint64_t group_id, uint32_t sample, at::IntArrayRef shape) {
  return NormalNoise({seed, group_id, sample, 0}, shape);
}

at::Tensor StepNoise(uint64_t seed, uint64_t group_id, uint32_t sample, int step, at::IntArrayRef shape) {
  return NormalNoise(BlocksOfStep(seed, group_id, sample, step, c10::multiply_integers(shape)), shape);
}

double StepNoiseMeanSquare(uint64_t seed, uint64_t group_id, uint32_t sample, int step, int64_t count) {
  const Blocks blocks = BlocksOfStep(seed, group_id, sample, step, count);
  double sum = 0;
  for (int64_t block = 0; block * 4 < count; ++block) {
    const auto words = blocks.Words(block);
    for (int pair = 0; pair < 2; ++pair) {
      const int64_t left = count - block * 4 - pair * 2;  // of the pair's two values
      if (left >= 2) sum += RadiusSquared(words[2 * pair]);
      if (left == 1) sum += RadiusSquared(words[2 * pair]) * std::pow(std::cos(Angle(words[2 * pair + 1])), 2);
    }
  }
  return sum / static_cast<double>(count);
}

}  // namespace flowawr
