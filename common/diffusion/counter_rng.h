// Random numbers for decisions, addressed instead of drawn in order. Needs no LibTorch.
#pragma once

#include <cstdint>

namespace flowawr {

// A sequence of random numbers for decisions (prompt shuffles, sigma draws), found by (seed, stream): give every
// decision its own stream number and nothing has to be saved. Independent of InitialNoise() with the same seed, and the
// same on every platform. Not thread-safe; cheap to make.
class CounterRng {
 public:
  CounterRng(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  uint64_t Next();             // uniform over all 64-bit values
  double Uniform();            // uniform over [0, 1), 53 bits
  uint64_t Below(uint64_t n);  // uniform over [0, n), without modulo bias; n >= 1

 private:
  uint64_t seed_;
  uint64_t stream_;
  uint64_t position_ = 0;
};

}  // namespace flowawr
