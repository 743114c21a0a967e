// The noise of a run's samples and, by counter_rng.h, its decisions: all randomness is addressed instead of drawn in
// order, so that whoever computes it, whenever, gets the same bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/diffusion/counter_rng.h"

namespace flowawr {

// The noise a sample starts from: float32, standard normal, of `shape`. A function of its arguments alone
// (Philox4x32-10 and Box-Muller in double precision), so any actor that gets the lease draws the same noise.
at::Tensor InitialNoise(uint64_t seed, uint64_t group_id, uint32_t sample, at::IntArrayRef shape);

// Likewise what stochastic step number `step`, at most 1022, of that sample draws; at most 2^24 values. The numbers are
// counted apart: no value of another step, nor of the initial noise of any sample of that seed, comes of the same key.
at::Tensor StepNoise(uint64_t seed, uint64_t group_id, uint32_t sample, int step, at::IntArrayRef shape);

// The mean square of `count` values of StepNoise(), before they are rounded to f32, without making them: the squares of
// a pair add up to that of its radius. A quarter of the time.
double StepNoiseMeanSquare(uint64_t seed, uint64_t group_id, uint32_t sample, int step, int64_t count);

}  // namespace flowawr
