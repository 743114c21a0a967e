#include "common/diffusion/solver.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

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
    const bool is_first_order = !previous_.defined() || index + 2 == static_cast<int>(sigmas_.size());
    if (!is_first_order) {
      const double h_previous = Lambda(sigma) - Lambda(sigmas_[index - 1]);
      const double inverse_r0 = h / h_previous;  // 0 after a step from sigma 1
      next += (m0 - previous_) * (gain * 0.5 * inverse_r0);
    }
    previous_ = m0;
    return next;
  }

  void Forget() override { previous_.reset(); }

 private:
  static double Lambda(double sigma) { return std::log((1 - sigma) / sigma); }

  const std::vector<float> sigmas_;
  at::Tensor previous_;  // m1; undefined before the first step and after Forget()
};

template <typename Made>
std::unique_ptr<Solver> Make(std::vector<float> sigmas) {
  return std::make_unique<Made>(std::move(sigmas));
}

struct Kind {
  v1::Solver kind;
  std::unique_ptr<Solver> (*make)(std::vector<float> sigmas);
};

// All there are; their names are those of the enum, as configurations write them.
constexpr Kind kKinds[] = {{v1::EULER, Make<EulerSolver>}, {v1::DPM_SOLVER_PP_2M, Make<DpmSolverPp2M>}};

}  // namespace

absl::StatusOr<std::unique_ptr<Solver>> MakeSolver(v1::Solver kind, std::vector<float> sigmas) {
  TORCH_CHECK(sigmas.size() >= 2, "a solver needs at least one step");
  for (const Kind& known : kKinds)
    if (known.kind == kind) return known.make(std::move(sigmas));
  return absl::InvalidArgumentError(
      absl::StrCat("no solver is number ", kind, "; known are ", absl::StrJoin(SolverNames(), ", ")));
}

std::string SolverName(v1::Solver kind) { return absl::AsciiStrToLower(v1::Solver_Name(kind)); }

std::optional<v1::Solver> SolverFromName(absl::string_view name) {
  for (const Kind& known : kKinds)
    if (name == SolverName(known.kind)) return known.kind;
  return std::nullopt;
}

std::vector<std::string> SolverNames() {
  std::vector<std::string> names;
  for (const Kind& known : kKinds) names.push_back(SolverName(known.kind));
  return names;
}

}  // namespace flowawr
