#include "common/diffusion/sde_step.h"

#include <torch/types.h>

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr double kRelativeTolerance = 1e-4, kRounding = 1e-7;
const double kLogSqrtTwoPi = std::log(std::sqrt(2 * M_PI));

// In f64, as few values decide about all dimensions.
SdeStep FlowSdeStep(double noise_level, const at::Tensor& sigma, const at::Tensor& next) {
  const at::Tensor dt = next - sigma;
  const at::Tensor rate_squared = noise_level * noise_level * sigma / (1 - at::where(sigma == 1, next, sigma));
  return {.x_weight = 1 + rate_squared * dt / (2 * sigma),
          .v_weight = (1 + rate_squared * (1 - sigma) / (2 * sigma)) * dt,
          .noise_rate = rate_squared.sqrt(),
          .std = (-rate_squared * dt).sqrt()};
}

SdeStep CpsStep(double noise_level, const at::Tensor& sigma, const at::Tensor& next) {
  const at::Tensor kept = next * std::cos(noise_level * M_PI / 2), std = next * std::sin(noise_level * M_PI / 2);
  return {.x_weight = 1 - next + kept,
          .v_weight = (1 - sigma) * kept - sigma * (1 - next),
          .noise_rate = std,
          .std = std,
          .keeps_constants = false};
}

struct Kind {
  v1::SdeKind kind;
  SdeStep (*make)(double noise_level, const at::Tensor& sigma, const at::Tensor& next);
  std::optional<double> most_noise;
  bool has_last_step;  // its step to sigma 0 draws noise
};

// All there are.
constexpr Kind kKinds[] = {{v1::FLOW_SDE, FlowSdeStep, std::nullopt, true}, {v1::CPS, CpsStep, 1.0, false}};

const Kind* Find(v1::SdeKind kind) {
  for (const Kind& known : kKinds)
    if (known.kind == kind) return &known;
  return nullptr;
}

// [B] beside [B, ...].
at::Tensor Spread(const at::Tensor& row_values, const at::Tensor& rows) {
  std::vector<int64_t> sizes(rows.dim(), 1);
  sizes[0] = -1;
  return row_values.view(sizes);
}

at::Tensor MeanOverDims(const at::Tensor& rows) { return rows.flatten(1).mean(1, /*keepdim=*/false, at::kDouble); }

}  // namespace

SdeStep MakeSdeStep(v1::SdeKind kind, double noise_level, const at::Tensor& sigma, const at::Tensor& sigma_next) {
  const Kind* known = Find(kind);
  TORCH_CHECK(known != nullptr, "no stochastic step number ", static_cast<int>(kind));
  const SdeStep exact = known->make(noise_level, sigma.to(at::kDouble), sigma_next.to(at::kDouble));
  return {.x_weight = exact.x_weight.to(at::kFloat),
          .v_weight = exact.v_weight.to(at::kFloat),
          .noise_rate = exact.noise_rate.to(at::kFloat),
          .std = exact.std.to(at::kFloat),
          .keeps_constants = exact.keeps_constants};
}

at::Tensor StepMean(const SdeStep& step, const at::Tensor& x, const at::Tensor& v) {
  return x.to(at::kFloat) * Spread(step.x_weight, x) + v.to(at::kFloat) * Spread(step.v_weight, v);
}

at::Tensor StepLogProb(const SdeStep& step, const at::Tensor& next, const at::Tensor& mean) {
  const at::Tensor distance = next - mean;
  if (!step.keeps_constants) return -MeanOverDims(distance.square()).to(at::kFloat);
  const at::Tensor half_square = MeanOverDims((distance / Spread(step.std, next)).square()) / 2;
  return (-half_square - step.std.to(at::kDouble).log() - kLogSqrtTwoPi).to(at::kFloat);
}

NoiseLogProb LogProbOfNoise(const SdeStep& step, const at::Tensor& mean_square) {
  const at::Tensor std = step.std.to(at::kDouble);
  const at::Tensor tolerance = (kRelativeTolerance + kRounding / std).expand_as(mean_square);
  if (!step.keeps_constants) return {-std.square() * mean_square, 2 * std.square() * tolerance};
  return {-mean_square / 2 - std.log() - kLogSqrtTwoPi, tolerance};
}

absl::Status CheckStochasticSteps(const v1::StochasticSteps& stochastic, int steps) {
  const Kind* kind = Find(stochastic.kind());
  if (kind == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("no stochastic step is number ", stochastic.kind()));
  const double level = stochastic.noise_level();
  if (!std::isfinite(level) || level <= 0 || (kind->most_noise.has_value() && level > *kind->most_noise))
    return absl::InvalidArgumentError(absl::StrCat(
        "noise level ", level, ": expected a number above 0",
        kind->most_noise.has_value()
            ? absl::StrCat(", for ", absl::AsciiStrToLower(v1::SdeKind_Name(kind->kind)), " at most ",
                           *kind->most_noise)
            : ""));
  const int64_t end = int64_t{stochastic.first()} + stochastic.count();
  const int64_t most = kind->has_last_step ? steps : steps - 1;
  if (stochastic.count() < 1 || end > most)
    return absl::InvalidArgumentError(absl::StrCat(
        stochastic.count(), " stochastic steps from step ", stochastic.first(),
        ": expected at least 1, all among the first ", most, " of ", steps,
        kind->has_last_step ? "" : " (the last one draws no noise)"));
  return absl::OkStatus();
}

}  // namespace flowawr
