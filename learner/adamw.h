// AdamW on one flat vector, and the clipping of its gradient. The same formulas as torch.optim.AdamW.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The optimiser's state: what a checkpoint keeps of it.
struct AdamWState {
  at::Tensor first_moment;   // [size] f32
  at::Tensor second_moment;  // [size] f32
  uint64_t steps = 0;

  static AdamWState Zero(int64_t size);
};

// Scales `gradient` in place so that its norm is at most `max_norm` (0: leaves it) and returns the norm it had.
double ClipGradient(at::Tensor& gradient, double max_norm);

// One step, in place, at `learning_rate` rather than the one in `config`, which a schedule may have scaled.
// `parameters` and `gradient` are [size] f32 and need no autograd.
void AdamWStep(const v1::OptimizerConfig& config, double learning_rate, const at::Tensor& gradient,
               at::Tensor& parameters, AdamWState& state);

}  // namespace flowawr
