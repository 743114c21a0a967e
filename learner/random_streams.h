// Which of a run's random numbers belong to which decision: stream numbers for CounterRng, never two uses of one.
#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

enum class RandomUse : uint64_t {
  kPromptOrder = 1,
  kSigmas = 2,
  kTrainingNoise = 3,
  kLoraInit = 4,
  kStochasticWindow = 5,
  kBatchParts = 6,
  kDriftRow = 7,
};

// A stream for (use, a, b, c); different arguments give different streams but for hash collisions of 64 bits.
uint64_t RandomStream(RandomUse use, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);

// Seed of the noise that training mixes into x0; apart from the noise that samples start from.
uint64_t TrainingNoiseSeed(uint64_t run_seed);

// `count` different indices below `choices`, in rising order: the sigmas at which one sample is trained in one update.
// A function of its arguments alone. `count` is at most `choices`.
std::vector<int> DrawSigmas(uint64_t run_seed, uint64_t update, uint64_t group, uint64_t sample, int choices,
                            int count);

}  // namespace flowawr
