// Solvers of the probability-flow ODE of a flow model: x_sigma = (1 - sigma) x0 + sigma eps, velocity = eps - x0.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The steps of one sampling run. It may remember earlier steps: one object a run, Step() once for each index, in order.
// Not thread-safe.
class Solver {
 public:
  virtual ~Solver() = default;

  // From `latents` at sigmas[index], where the model's output is `velocity`, to the latents at sigmas[index + 1].
  // Computed and returned in float32, whatever the type of `velocity`.
  virtual at::Tensor Step(int index, const at::Tensor& velocity, const at::Tensor& latents) = 0;
};

// `sigmas` fall from at most 1 to 0 (see FlowMatchSigmas). `kind` must be a named solver:
// - EULER: x' = x + (sigma' - sigma) v;
// - DPM_SOLVER_PP_2M: DPM-Solver++(2M) with data prediction, midpoint; first and last step are of first order.
std::unique_ptr<Solver> MakeSolver(v1::Solver kind, std::vector<float> sigmas);

// The whole run: `noise` [B, C, H, W] at sigmas[0] to the final latents, float32. `velocity` is the model.
at::Tensor SampleLatents(absl::FunctionRef<at::Tensor(const at::Tensor& latents, float sigma)> velocity,
                         v1::Solver kind, const std::vector<float>& sigmas, at::Tensor noise);

}  // namespace flowawr
