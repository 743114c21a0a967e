#include "common/diffusion/sampler.h"

#include <torch/types.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/diffusion/sde_step.h"
#include "common/diffusion/solver.h"

namespace flowawr {
namespace {

absl::Status CheckPlan(const SamplerPlan& plan) {
  const std::vector<float>& sigmas = plan.sigmas;
  if (sigmas.size() < 2) return absl::InvalidArgumentError("a sampler needs at least one step");
  for (size_t i = 1; i < sigmas.size(); ++i) {
    // A NaN fails too.
    if (!(sigmas[i - 1] <= 1 && sigmas[i] < sigmas[i - 1] && sigmas[i] >= 0))
      return absl::InvalidArgumentError(absl::StrCat("sigmas must fall from at most 1 to 0: after ", sigmas[i - 1],
                                                     " comes ", sigmas[i], " at step ", i - 1));
  }
  if (!plan.stochastic.has_value()) return absl::OkStatus();
  return CheckStochasticSteps(*plan.stochastic, static_cast<int>(sigmas.size()) - 1);
}

// What the steps of the window do, and keeps it.
class StochasticWindow {
 public:
  explicit StochasticWindow(const v1::StochasticSteps& steps) : steps_(steps) {}

  bool Holds(int step) const { return IsStochastic(steps_, step); }

  at::Tensor Step(float sigma, float sigma_next, const at::Tensor& velocity, const at::Tensor& latents,
                  const at::Tensor& noise) {
    const auto one = [&](float value) { return at::full({1}, value, latents.options()); };
    const SdeStep step = MakeSdeStep(steps_.kind(), steps_.noise_level(), one(sigma), one(sigma_next));
    const at::Tensor mean = StepMean(step, latents, velocity);
    at::Tensor next = mean + noise.to(at::kFloat) * step.std;
    if (states_.empty()) states_.push_back(latents);
    states_.push_back(next);
    log_probs_.push_back(StepLogProb(step, next, mean));
    return next;
  }

  Trajectory Finish() const { return {.states = at::stack(states_, 1), .log_probs = at::stack(log_probs_, 1)}; }

 private:
  const v1::StochasticSteps& steps_;
  std::vector<at::Tensor> states_, log_probs_;
};

}  // namespace

absl::StatusOr<Sampled> Sample(const SamplerPlan& plan, at::Tensor noise,
                               absl::FunctionRef<at::Tensor(const at::Tensor& latents, float sigma)> velocity,
                               absl::FunctionRef<at::Tensor(int step)> step_noise,
                               absl::FunctionRef<bool(int step)> goes_on) {
  FLOWAWR_RETURN_IF_ERROR(CheckPlan(plan));
  FLOWAWR_ASSIGN_OR_RETURN(const std::unique_ptr<Solver> solver, MakeSolver(plan.solver, plan.sigmas));
  std::optional<StochasticWindow> window;
  if (plan.stochastic.has_value()) window.emplace(*plan.stochastic);
  at::Tensor latents = noise.to(at::kFloat);
  for (int step = 0; step + 1 < static_cast<int>(plan.sigmas.size()); ++step) {
    if (!goes_on(step)) return absl::CancelledError("no longer wanted");
    const float sigma = plan.sigmas[step];
    const at::Tensor v = velocity(latents, sigma);
    if (window.has_value() && window->Holds(step)) {
      latents = window->Step(sigma, plan.sigmas[step + 1], v, latents, step_noise(step));
      solver->Forget();
    } else {
      latents = solver->Step(step, v, latents);
    }
  }
  Sampled sampled{.latents = std::move(latents), .trajectory = std::nullopt};
  if (window.has_value()) sampled.trajectory = window->Finish();
  return sampled;
}

}  // namespace flowawr
