#include "tests/learner/algorithm/toy_methods.h"

#include <torch/types.h>

#include <cmath>

namespace flowawr {
namespace {

constexpr double kClip = 5, kBeta = 0.5, kAdvantageMax = 1, kOldBeta = 2, kPower = 0.25;

at::Tensor Mean(const at::Tensor& x) { return x.mean(-1, true); }

ToyMethod FlowAwrToy() {
  ToyMethod method{.name = "FlowAWR", .has_alpha = true};
  auto& config = *method.config.mutable_flow_awr();
  config.set_energy(v1::SOFT);
  config.set_temperature(kToyTemperature);
  config.set_energy_clip(1000);
  method.set_kl_beta = [](double beta, v1::AlgorithmConfig& c) { c.mutable_flow_awr()->set_kl_beta(beta); };
  method.pull = [](const ToyRows& rows, const at::Tensor& delta) {
    return rows.t / Mean((rows.z - delta).abs()) * ((rows.e - 1) * rows.z - delta);
  };
  method.regression = [](const ToyRows& rows, const ToyMoments&) -> ToyRegression {
    return {at::ones_like(rows.a), (rows.e - 1) * rows.z};
  };
  method.delta = [](const ToyMoments& moments) { return moments.alpha * moments.tilted; };
  return method;
}

ToyMethod DiffusionNftToy() {
  ToyMethod method{.name = "DiffusionNFT"};
  method.config.mutable_diffusion_nft()->set_beta(kBeta);
  method.set_kl_beta = [](double beta, v1::AlgorithmConfig& c) { c.mutable_diffusion_nft()->set_kl_beta(beta); };
  method.pull = [](const ToyRows& rows, const at::Tensor& delta) {
    const at::Tensor r = (1 + rows.a / kClip) / 2, plus = rows.z - kBeta * delta, minus = rows.z + kBeta * delta;
    return kClip * rows.t * (r * plus / Mean(plus.abs()) - (1 - r) * minus / Mean(minus.abs()));
  };
  method.regression = [](const ToyRows& rows, const ToyMoments&) -> ToyRegression {
    return {at::ones_like(rows.a), rows.a * rows.z / (kClip * kBeta)};
  };
  method.delta = [](const ToyMoments& moments) { return moments.covariance / (kClip * kBeta); };
  return method;
}

ToyMethod AwmToy() {
  ToyMethod method{.name = "AWM"};
  auto& config = *method.config.mutable_awm();
  config.set_weighting(v1::GHUBER);
  config.set_ghuber_power(kPower);
  config.set_advantage_max(kAdvantageMax);
  config.set_clip_range(10);  // the ratio stays free
  config.set_old_beta(kOldBeta);
  method.set_kl_beta = [](double beta, v1::AlgorithmConfig& c) { c.mutable_awm()->set_kl_beta(beta); };
  method.pull = [](const ToyRows& rows, const at::Tensor& delta) {
    const at::Tensor before = Mean(rows.z.square()), now = Mean((rows.z - delta).square());
    const at::Tensor ratio = (rows.t / kPower * (before.pow(kPower) - now.pow(kPower))).exp();
    const at::Tensor slope = rows.t * now.pow(kPower - 1);
    return kAdvantageMax / kClip * rows.a * ratio * slope * (rows.z - delta) - kOldBeta * delta;
  };
  const auto scale = [](const ToyMoments& moments) {
    return kAdvantageMax / (kClip * kOldBeta) * moments.t * Mean(moments.variance).pow(kPower - 1);
  };
  method.regression = [scale](const ToyRows& rows, const ToyMoments& moments) -> ToyRegression {
    return {at::ones_like(rows.a), scale(moments) * rows.a * rows.z};
  };
  method.delta = [scale](const ToyMoments& moments) { return scale(moments) * moments.covariance; };
  return method;
}

ToyMethod RwrToy() {
  ToyMethod method{.name = "RWR"};
  method.config.mutable_rwr()->set_temperature(kToyTemperature);
  method.set_kl_beta = [](double beta, v1::AlgorithmConfig& c) { c.mutable_rwr()->set_kl_beta(beta); };
  method.pull = [](const ToyRows& rows, const at::Tensor& delta) { return rows.e * (rows.z - delta); };
  method.regression = [](const ToyRows& rows, const ToyMoments&) -> ToyRegression { return {rows.e, rows.z}; };
  method.delta = [](const ToyMoments& moments) { return moments.tilted; };
  return method;
}

}  // namespace

ToyRows ToyRowsOf(const Gaussian& policy, const Quadratic& reward, const at::Tensor& x, const at::Tensor& u, double t) {
  const at::Tensor x0 = x - t * u, deviation = reward.DeviationUnder(policy);
  const Quadratic tilt = reward.Over(deviation * kToyTemperature);
  return {.t = t,
          .z = u - VelocityOf(policy, x, ToyTime(t)),
          .a = ((reward.At(x0) - reward.MeanUnder(policy)) / deviation).clamp(-kClip, kClip),
          .e = (tilt.At(x0) - Tilt(policy, tilt).log_mean).exp()};
}

ToyMoments ToyMomentsAt(const Gaussian& policy, const Quadratic& reward, const at::Tensor& x, double t) {
  const Gaussian posterior = Posterior(policy, x, ToyTime(t));
  const at::Tensor deviation = reward.DeviationUnder(policy);
  const Quadratic standard = reward.Over(deviation), tilt = reward.Over(deviation * kToyTemperature);
  const Tilted tilted = Tilt(posterior, tilt);
  return {.t = t,
          .alpha = (tilted.log_mean - Tilt(policy, tilt).log_mean).exp(),
          .tilted = (posterior.mean - tilted.law.mean) / t,
          .covariance = -posterior.variance * (standard.slope - 2 * standard.curve * posterior.mean) / t,
          .variance = posterior.variance / (t * t)};
}

const std::vector<ToyMethod>& ToyMethods() {
  static const auto& methods = *new std::vector<ToyMethod>([] {
    std::vector<ToyMethod> all = {FlowAwrToy(), DiffusionNftToy(), AwmToy(), RwrToy()};
    for (ToyMethod& method : all) {
      method.config.set_advantage_clip(kClip);
      method.config.set_std_scope(v1::BATCH);
    }
    return all;
  }());
  return methods;
}

}  // namespace flowawr
