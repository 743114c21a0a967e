#include "learner/flowawr.h"

#include <torch/types.h>

#include <cmath>

namespace flowawr {
namespace {

constexpr double kStdFloor = 1e-4;
constexpr double kHardStdMin = 1e-2;
constexpr double kLossScaleMin = 1e-5;

// Mean and population variance of the finite values along the last dimension, which is kept.
struct Moments {
  at::Tensor mean, variance, count;
};

Moments FiniteMoments(const at::Tensor& values) {
  const at::Tensor is_finite = at::isfinite(values);
  const at::Tensor count = is_finite.sum(-1, /*keepdim=*/true).to(at::kDouble);
  const at::Tensor divisor = count.clamp_min(1);
  const at::Tensor mean = values.nan_to_num(0).sum(-1, true) / divisor;
  const at::Tensor variance = (values - mean).square().nan_to_num(0).sum(-1, true) / divisor;
  return {mean, variance, count};
}

at::Tensor MeanOverDims(const at::Tensor& rows) { return rows.flatten(1).mean(1); }

// True where a group has no two different finite values.
at::Tensor IsAllEqual(const at::Tensor& values) {
  const double infinity = INFINITY;
  return values.nan_to_num(-infinity).amax(-1) <= values.nan_to_num(infinity).amin(-1);
}

}  // namespace

at::Tensor ComputeAdvantages(const at::Tensor& rewards, const v1::AlgorithmConfig& algorithm) {
  const Moments group = FiniteMoments(rewards);
  const at::Tensor std =
      algorithm.std_scope() == v1::GROUP ? group.variance.sqrt() : FiniteMoments(rewards.flatten()).variance.sqrt();
  const double clip = algorithm.advantage_clip();
  return ((rewards - group.mean) / (std + kStdFloor)).clamp(-clip, clip) / algorithm.temperature();
}

at::Tensor ComputeEnergies(const at::Tensor& advantages, const v1::AlgorithmConfig& algorithm) {
  const at::Tensor is_finite = at::isfinite(advantages);
  const at::Tensor samples = is_finite.sum(-1, true).to(at::kDouble).clamp_min(1);
  const at::Tensor p = at::softmax(advantages.masked_fill(~is_finite, -1e300), -1);
  const at::Tensor q = p - 1 / samples;
  at::Tensor energy;
  if (algorithm.energy() == v1::HARD) {
    const at::Tensor std = FiniteMoments(q.masked_fill(~is_finite, NAN)).variance.sqrt();
    energy = q / (std + kStdFloor).clamp_min(kHardStdMin);
  } else {
    energy = samples * q;
  }
  energy = energy.clamp(-algorithm.energy_clip(), algorithm.energy_clip());
  return energy.masked_fill(~is_finite | IsAllEqual(advantages).unsqueeze(-1), 0);
}

BatchEnergies CombineRewards(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                             const v1::AlgorithmConfig& algorithm) {
  const at::Tensor weight = at::tensor(weights, at::kDouble).view({-1, 1, 1});
  BatchEnergies batch;
  batch.rewards = (weight * rewards).sum(0);
  at::Tensor energies;
  if (combination == v1::DECOUPLED) {
    at::Tensor sum = at::zeros_like(batch.rewards);
    for (int64_t term = 0; term < rewards.size(0); ++term) {
      sum += weights[term] * ComputeEnergies(ComputeAdvantages(rewards[term], algorithm), algorithm);
    }
    const at::Tensor magnitude = (weight.abs() * at::isfinite(rewards).to(at::kDouble)).sum(0);
    energies = at::where(magnitude > 0, sum / magnitude, at::zeros_like(sum));
  } else {
    energies = ComputeEnergies(ComputeAdvantages(batch.rewards, algorithm), algorithm);
  }
  batch.energies = energies.to(at::kFloat);
  const at::Tensor is_zero = (batch.energies == 0).all(-1).contiguous();
  for (int64_t group = 0; group < is_zero.size(0); ++group) {
    batch.is_all_equal.push_back(is_zero.data_ptr<bool>()[group]);
    batch.all_equal_groups += batch.is_all_equal.back();
  }
  return batch;
}

LossOutput FlowAwrLoss(const LossInput& input, double kl_beta) {
  const at::Tensor t = input.sigma.view({-1, 1, 1, 1});
  const at::Tensor energy = input.energy.view({-1, 1, 1, 1});

  const at::Tensor x0_old = input.x_t - t * input.v_old;
  const at::Tensor target = x0_old + energy * (input.x0 - x0_old);
  const at::Tensor x0_theta = input.x_t - t * input.v_theta;

  const at::Tensor scale = MeanOverDims((x0_theta.detach() - input.x0).abs()).clamp_min(kLossScaleMin);
  const at::Tensor policy = MeanOverDims((x0_theta - target).square()) / scale;
  if (!input.v_ref.defined()) return {policy, policy.detach(), at::zeros_like(input.sigma)};

  const at::Tensor kl = MeanOverDims((input.v_theta - input.v_ref).square());
  return {policy + kl_beta * kl, policy.detach(), kl.detach()};
}

}  // namespace flowawr
