#include "learner/algorithm/awm.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

namespace flowawr {
namespace {

constexpr double kTiny = 1e-10;  // keeps roots of d smooth at 0

// w(d, t) and its slope in d, [B] f64.
struct Weighted {
  at::Tensor value, slope;
};
Weighted Weigh(const v1::AwmConfig& config, const at::Tensor& d, const at::Tensor& t) {
  const double p = config.ghuber_power();
  switch (config.weighting()) {
    case v1::SIGMA:
      return {d * t, t};
    case v1::SIGMA_SQUARED:
      return {d * t * t, t * t};
    case v1::HUBER:
      return {((d + kTiny).sqrt() - std::sqrt(kTiny)) * t, t / (2 * (d + kTiny).sqrt())};
    case v1::GHUBER:
      return {((d + kTiny).pow(p) - std::pow(kTiny, p)) * t / p, t * (d + kTiny).pow(p - 1)};
    default:
      return {d, at::ones_like(d)};
  }
}

}  // namespace

Awm::Awm(const v1::RunConfig& config, std::vector<float> sigmas)
    : ForwardAlgorithm(config, std::move(sigmas),
                       {.needs = {.old = true, .reference = config.algorithm().awm().kl_beta() > 0},
                        .clip = config.algorithm().awm().advantage_max(),
                        .figures = {"policy_loss", "kl", "old_distance", "ratio", "ratio_deviation", "clip_share"}}),
      config_(config.algorithm().awm()),
      advantage_clip_(config.algorithm().advantage_clip()) {}

bool Awm::Teaches(bool is_all_equal, bool is_old_current) const {
  return !is_all_equal || config_.kl_beta() > 0 || (config_.old_beta() > 0 && !is_old_current);
}

at::Tensor Awm::SignalsOf(const at::Tensor& advantages) const {
  return advantages / advantage_clip_ * config_.advantage_max();
}

RowValues Awm::Values(const Rows& rows, const Velocities& v) const {
  const at::Tensor t = rows.sigma.to(at::kDouble), advantage = rows.signal.to(at::kDouble);
  const Distance now = MatchVelocity(rows, v.theta), before = MatchVelocity(rows, v.old);
  const Weighted log_p = Weigh(config_, now.value, t);  // negated
  const at::Tensor ratio = (Weigh(config_, before.value, t).value - log_p.value).exp();
  const at::Tensor clipped = -advantage * ratio.clamp(1 - config_.clip_range(), 1 + config_.clip_range());
  const at::Tensor is_free = -advantage * ratio >= clipped;  // where the clipped one counts there is no gradient
  const at::Tensor policy = at::maximum(-advantage * ratio, clipped).to(v.theta.scalar_type());
  const at::Tensor factor = (advantage * ratio * log_p.slope).masked_fill(~is_free, 0).to(v.theta.scalar_type());

  RowValues values{.loss = policy, .gradient = AsLatents(factor) * now.gradient, .figures = {}};
  const at::Tensor kl = AddPull(v.theta, v.ref, config_.kl_beta(), values);
  const at::Tensor old_distance = AddPull(v.theta, v.old, config_.old_beta(), values);
  values.figures = {policy, kl, old_distance, ratio, (ratio - 1).abs(), (~is_free).to(at::kDouble)};
  return values;
}

}  // namespace flowawr
