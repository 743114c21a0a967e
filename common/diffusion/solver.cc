#include "common/diffusion/solver.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

namespace flowawr {
namespace {

class EulerSolver : public Solver {
 public:
  explicit EulerSolver(std::vector<float> sigmas) : sigmas_(std::move(sigmas)) {}

  at::Tensor Step(int index, const at::Tensor& velocity, const at::Tensor& latents) override {
    return latents.to(at::kFloat) + velocity.to(at::kFloat) * (sigmas_.at(index + 1) - sigmas_.at(index));
  }

 private:
  const std::vector<float> sigmas_;
};

// Lu et al., arXiv 2211.01095, algorithm 2, with alpha = 1 - sigma and lambda = log(alpha / sigma). Every step is
// linear in x, m0 and m1 (the data predictions here and one step back), so only three coefficients are computed.
class DpmSolverPp2M : public Solver {
 public:
  explicit DpmSolverPp2M(std::vector<float> sigmas) : sigmas_(std::move(sigmas)) {}

  at::Tensor Step(int index, const at::Tensor& velocity, const at::Tensor& latents) override {
    const double sigma = sigmas_.at(index), sigma_next = sigmas_.at(index + 1);
    const at::Tensor x = latents.to(at::kFloat);
    const at::Tensor m0 = x - velocity.to(at::kFloat) * sigma;
    const double h = Lambda(sigma_next) - Lambda(sigma);  // infinite from sigma 1 and to sigma 0
    const double gain = -(1 - sigma_next) * std::expm1(-h);
    at::Tensor next = x * (sigma_next / sigma) + m0 * gain;
    const bool is_first_order = index == 0 || index + 2 == static_cast<int>(sigmas_.size());
    if (!is_first_order) {
      const double h_previous = Lambda(sigma) - Lambda(sigmas_[index - 1]);
      const double inverse_r0 = h / h_previous;  // 0 after a step from sigma 1
      next += (m0 - previous_) * (gain * 0.5 * inverse_r0);
    }
    previous_ = m0;
    return next;
  }

 private:
  static double Lambda(double sigma) { return std::log((1 - sigma) / sigma); }

  const std::vector<float> sigmas_;
  at::Tensor previous_;  // m1; undefined before the first step
};

}  // namespace

std::unique_ptr<Solver> MakeSolver(v1::Solver kind, std::vector<float> sigmas) {
  TORCH_CHECK(sigmas.size() >= 2, "a solver needs at least one step");
  switch (kind) {
    case v1::EULER:
      return std::make_unique<EulerSolver>(std::move(sigmas));
    case v1::DPM_SOLVER_PP_2M:
      return std::make_unique<DpmSolverPp2M>(std::move(sigmas));
    default:
      TORCH_CHECK(false, "no solver number ", static_cast<int>(kind));
  }
}

at::Tensor SampleLatents(absl::FunctionRef<at::Tensor(const at::Tensor& latents, float sigma)> velocity,
                         v1::Solver kind, const std::vector<float>& sigmas, at::Tensor noise) {
  const std::unique_ptr<Solver> solver = MakeSolver(kind, sigmas);
  at::Tensor latents = noise.to(at::kFloat);
  for (int i = 0; i + 1 < static_cast<int>(sigmas.size()); ++i)
    latents = solver->Step(i, velocity(latents, sigmas[i]), latents);
  return latents;
}

}  // namespace flowawr
