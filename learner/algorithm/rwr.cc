#include "learner/algorithm/rwr.h"

#include <torch/types.h>

#include <utility>

namespace flowawr {

Rwr::Rwr(const v1::RunConfig& config, std::vector<float> sigmas)
    : ForwardAlgorithm(config, std::move(sigmas),
                       {.needs = {.reference = config.algorithm().rwr().kl_beta() > 0},
                        .figures = {"policy_loss", "matching_loss", "kl"}}),
      config_(config.algorithm().rwr()) {}

bool Rwr::Teaches(bool, bool) const { return true; }

at::Tensor Rwr::SignalsOf(const at::Tensor& advantages) const {
  const auto [excess, samples] = ComputeExcessWeights(advantages / config_.temperature());
  return samples * excess;
}

RowValues Rwr::Values(const Rows& rows, const Velocities& v) const {
  const Distance matching = MatchVelocity(rows, v.theta);
  const at::Tensor weight = 1 + rows.signal;
  const at::Tensor policy = (weight * matching.value).to(v.theta.scalar_type());
  RowValues values{.loss = policy, .gradient = AsLatents(weight) * matching.gradient, .figures = {}};
  const at::Tensor kl = AddPull(v.theta, v.ref, config_.kl_beta(), values);
  values.figures = {policy, matching.value, kl};
  return values;
}

}  // namespace flowawr
