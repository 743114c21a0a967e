// All randomness of a run, addressed instead of drawn in order: whoever computes it, whenever, gets the same bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace flowawr {

// The noise a sample starts from: float32, standard normal, of `shape`. A function of its arguments alone
// (Philox4x32-10 and Box-Muller in double precision), so any actor that gets the lease draws the same noise.
at::Tensor InitialNoise(uint64_t seed, uint64_t group_id, uint32_t sample, at::IntArrayRef shape);

// A sequence of random numbers for decisions (prompt shuffles, sigma draws), found by (seed, stream): give every
// decision its own stream number and nothing has to be saved. Independent of InitialNoise() with the same seed. Not
// thread-safe; cheap to make.
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
