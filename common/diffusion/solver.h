// Solvers of the probability-flow ODE of a flow model: x_sigma = (1 - sigma) x0 + sigma eps, velocity = eps - x0.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The steps of one sampling run. It may remember earlier steps: one object a run, Step() for one index after the other,
// but for those between which Forget() was called. The loop around it is Sample() of sampler.h.
// Not thread-safe.
class Solver {
 public:
  virtual ~Solver() = default;

  // From `latents` at sigmas[index], where the model's output is `velocity`, to the latents at sigmas[index + 1].
  // Computed and returned in float32, whatever the type of `velocity`.
  virtual at::Tensor Step(int index, const at::Tensor& velocity, const at::Tensor& latents) = 0;

  // The latents went on by other means than Step(): what came before tells nothing about what follows.
  virtual void Forget() {}
};

// `sigmas` fall from at most 1 to 0 (see FlowMatchSigmas), at least two of them. InvalidArgument, with the names that
// there are, for a kind that is none of these:
// - EULER: x' = x + (sigma' - sigma) v;
// - DPM_SOLVER_PP_2M: DPM-Solver++(2M) with data prediction, midpoint; first and last step are of first order, and so
//   is the one after Forget().
absl::StatusOr<std::unique_ptr<Solver>> MakeSolver(v1::Solver kind, std::vector<float> sigmas);

// "euler", "dpm_solver_pp_2m": as configurations and options write it; back, nullopt for any other name; and all of
// them.
std::string SolverName(v1::Solver kind);
std::optional<v1::Solver> SolverFromName(absl::string_view name);
std::vector<std::string> SolverNames();

}  // namespace flowawr
