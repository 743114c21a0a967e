// From noise to latents: the one loop in which a velocity and a step alternate.
//
// Steps follow the ODE by a solver; those of a stochastic window draw noise, and what they did is kept, so that a
// learner can tell how probable it was (sde_step.h). Knows no model and no key of a random number.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// What the stochastic steps of B images did, W of them.
struct Trajectory {
  at::Tensor states;     // [B, W + 1, C, h, w] f32: before each of them, and after the last
  at::Tensor log_probs;  // [B, W] f32
};

struct Sampled {
  at::Tensor latents;                    // [B, C, h, w] f32, at sigma 0
  std::optional<Trajectory> trajectory;  // of the stochastic steps, when there are any
};

struct SamplerPlan {
  v1::Solver solver = v1::EULER;
  std::vector<float> sigmas;  // falling, to 0; see FlowMatchSigmas
  std::optional<v1::StochasticSteps> stochastic;
};

// From `noise` [B, C, h, w] at the first sigma. `velocity` is the model at latents of that shape and one sigma.
// `step_noise(step)` gives standard normal noise of the latents' shape; it is asked for stochastic steps alone.
// `goes_on(step)` is asked before every step: Cancelled once it says no. InvalidArgument for a plan that no sampler can
// follow: an unknown solver, sigmas that do not fall, a window that CheckStochasticSteps() refuses.
//
// The solver begins anew after a stochastic step: it does not look back across noise.
absl::StatusOr<Sampled> Sample(const SamplerPlan& plan, at::Tensor noise,
                               absl::FunctionRef<at::Tensor(const at::Tensor& latents, float sigma)> velocity,
                               absl::FunctionRef<at::Tensor(int step)> step_noise,
                               absl::FunctionRef<bool(int step)> goes_on);

}  // namespace flowawr
