#include "learner/algorithm/flow_awr.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

namespace flowawr {
namespace {

constexpr double kStdFloor = 1e-4;
constexpr double kHardStdMin = 1e-2;

}  // namespace

at::Tensor ComputeEnergies(const at::Tensor& advantages, const v1::FlowAwrConfig& config) {
  const auto [q, samples] = ComputeExcessWeights(advantages / config.temperature());
  at::Tensor energy;
  if (config.energy() == v1::HARD) {
    const at::Tensor std = FiniteMoments(q.masked_fill(~at::isfinite(advantages), NAN)).variance.sqrt();
    energy = q / (std + kStdFloor).clamp_min(kHardStdMin);
  } else {
    energy = samples * q;
  }
  return energy.clamp(-config.energy_clip(), config.energy_clip());
}

FlowAwr::FlowAwr(const v1::RunConfig& config, std::vector<float> sigmas)
    : ForwardAlgorithm(config, std::move(sigmas),
                       {.needs = {.old = true, .reference = config.algorithm().flow_awr().kl_beta() > 0},
                        .clip = config.algorithm().flow_awr().energy_clip(),
                        .figures = {"policy_loss", "kl"}}),
      config_(config.algorithm().flow_awr()) {}

at::Tensor FlowAwr::SignalsOf(const at::Tensor& advantages) const { return ComputeEnergies(advantages, config_); }

RowValues FlowAwr::Values(const Rows& rows, const Velocities& v) const {
  const at::Tensor x0_old = rows.x - AsLatents(rows.sigma) * v.old;
  const at::Tensor target = x0_old + AsLatents(rows.signal) * (rows.x0 - x0_old);
  const Distance policy = RegressX0(rows, v.theta, target);
  RowValues values{.loss = policy.value, .gradient = policy.gradient, .figures = {}};
  const at::Tensor kl = AddPull(v.theta, v.ref, config_.kl_beta(), values);
  values.figures = {policy.value, kl};
  return values;
}

}  // namespace flowawr
