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

}  // namespace flowawr
