#include "learner/algorithm/diffusion_nft.h"

#include <torch/types.h>

#include <utility>

namespace flowawr {

DiffusionNft::DiffusionNft(const v1::RunConfig& config, std::vector<float> sigmas)
    : ForwardAlgorithm(config, std::move(sigmas),
                       {.needs = {.old = true, .reference = config.algorithm().diffusion_nft().kl_beta() > 0},
                        .clip = 1,
                        .figures = {"policy_loss", "positive_loss", "negative_loss", "kl"}}),
      config_(config.algorithm().diffusion_nft()),
      advantage_clip_(config.algorithm().advantage_clip()) {}

at::Tensor DiffusionNft::SignalsOf(const at::Tensor& advantages) const { return advantages / advantage_clip_; }

RowValues DiffusionNft::Values(const Rows& rows, const Velocities& v) const {
  // Written so that both are v_old, to the bit, where v_theta is.
  const at::Tensor step = config_.beta() * (v.theta - v.old);
  const Distance positive = RegressX0(rows, v.old + step, rows.x0);
  const Distance negative = RegressX0(rows, v.old - step, rows.x0);
  const at::Tensor r = (1 + rows.signal) / 2;
  const at::Tensor policy = advantage_clip_ / config_.beta() * (r * positive.value + (1 - r) * negative.value);
  // d v+- / d v_theta = +-beta, which the division takes away again.
  const at::Tensor gradient =
      advantage_clip_ * (AsLatents(r) * positive.gradient - AsLatents(1 - r) * negative.gradient);
  RowValues values{.loss = policy, .gradient = gradient, .figures = {}};
  const at::Tensor kl = AddPull(v.theta, v.ref, config_.kl_beta(), values);
  values.figures = {policy, positive.value, negative.value, kl};
  return values;
}

}  // namespace flowawr
