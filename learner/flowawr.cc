#include "learner/flowawr.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

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

namespace {

// Which terms any sample of a group has, and the groups that have just those. Groups without any are left out.
std::map<std::vector<int64_t>, std::vector<int64_t>> GroupsByTerms(const at::Tensor& rewards) {
  const at::Tensor has_term = at::isfinite(rewards).any(-1).contiguous();  // [terms, groups]
  std::map<std::vector<int64_t>, std::vector<int64_t>> groups;
  for (int64_t group = 0; group < has_term.size(1); ++group) {
    std::vector<int64_t> terms;
    for (int64_t term = 0; term < has_term.size(0); ++term)
      if (has_term[term][group].item<bool>()) terms.push_back(term);
    if (!terms.empty()) groups[terms].push_back(group);
  }
  return groups;
}

}  // namespace

BatchEnergies CombineRewards(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                             const v1::AlgorithmConfig& algorithm) {
  std::vector<int64_t> trained;
  std::vector<double> trained_weights;
  for (size_t term = 0; term < weights.size(); ++term)
    if (weights[term] != 0) trained.push_back(static_cast<int64_t>(term)), trained_weights.push_back(weights[term]);
  if (trained.size() < weights.size())
    return CombineRewards(rewards.index_select(0, at::tensor(trained, at::kLong)), trained_weights, combination,
                          algorithm);
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
    energies = at::zeros_like(batch.rewards);
    for (const auto& [terms, groups] : GroupsByTerms(rewards)) {
      const at::Tensor terms_index = at::tensor(terms, at::kLong), groups_index = at::tensor(groups, at::kLong);
      const at::Tensor sums =
          (weight.index_select(0, terms_index) * rewards.index_select(0, terms_index).index_select(1, groups_index))
              .sum(0);
      energies.index_copy_(0, groups_index, ComputeEnergies(ComputeAdvantages(sums, algorithm), algorithm));
    }
  }
  batch.energies = energies.to(at::kFloat);
  const at::Tensor is_zero = (batch.energies == 0).all(-1).contiguous();
  for (int64_t group = 0; group < is_zero.size(0); ++group) {
    batch.is_all_equal.push_back(is_zero.data_ptr<bool>()[group]);
    batch.all_equal_groups += batch.is_all_equal.back();
  }
  return batch;
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements of the latents that are worked on at a time: what the formulas need on the way is never more than this.
constexpr int64_t kLossElements = int64_t{1} << 18;

// Rows [begin, begin + rows) of the loss, and its gradient with respect to v_theta.
struct LossRows {
  at::Tensor policy, kl;  // [rows]
  at::Tensor gradient;    // [rows, C, H, W]
};
LossRows ComputeLoss(const LossInput& input, double kl_beta, int64_t begin, int64_t rows) {
  const auto of = [&](const at::Tensor& x) { return x.detach().narrow(0, begin, rows); };
  const at::Tensor t = of(input.sigma).view({-1, 1, 1, 1});
  const at::Tensor energy = of(input.energy).view({-1, 1, 1, 1});
  const at::Tensor x_t = of(input.x_t), x0 = of(input.x0);

  const at::Tensor x0_old = x_t - t * of(input.v_old);
  const at::Tensor target = x0_old + energy * (x0 - x0_old);
  const at::Tensor x0_theta = x_t - t * of(input.v_theta);

  const at::Tensor scale = MeanOverDims((x0_theta - x0).abs()).clamp_min(kLossScaleMin);
  const at::Tensor error = x0_theta - target;
  const double dims = static_cast<double>(error[0].numel());
  LossRows loss{.policy = MeanOverDims(error.square()) / scale,
                .kl = at::zeros_like(scale),
                .gradient = error * (-2 / dims * t / scale.view({-1, 1, 1, 1}))};
  if (!input.v_ref.defined()) return loss;

  const at::Tensor drift = of(input.v_theta) - of(input.v_ref);
  loss.kl = MeanOverDims(drift.square());
  loss.gradient.add_(drift, 2 * kl_beta / dims);
  return loss;
}

// Keeps the gradient alone for the backward pass.
class FlowAwrLossFunction : public torch::autograd::Function<FlowAwrLossFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& v_theta, const LossInput& input,
                               double kl_beta) {
    const int64_t rows = v_theta.size(0);
    const int64_t rows_at_once = std::max<int64_t>(1, kLossElements / v_theta[0].numel());
    at::Tensor gradient = at::empty_like(v_theta, at::MemoryFormat::Contiguous);
    std::vector<at::Tensor> policy, kl;
    for (int64_t begin = 0; begin < rows; begin += rows_at_once) {
      const int64_t count = std::min(rows_at_once, rows - begin);
      const LossRows loss = ComputeLoss(input, kl_beta, begin, count);
      gradient.narrow(0, begin, count).copy_(loss.gradient);
      policy.push_back(loss.policy);
      kl.push_back(loss.kl);
    }
    context->save_for_backward({gradient});
    const at::Tensor policy_rows = at::cat(policy), kl_rows = at::cat(kl);
    context->mark_non_differentiable({policy_rows, kl_rows});
    return {policy_rows + kl_beta * kl_rows, policy_rows, kl_rows};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {context->get_saved_variables()[0] * gradients[0].view({-1, 1, 1, 1}), {}, {}};
  }
};

}  // namespace

LossOutput FlowAwrLoss(const LossInput& input, double kl_beta) {
  const variable_list out = FlowAwrLossFunction::apply(input.v_theta, input, kl_beta);
  return {.loss = out[0], .policy = out[1], .kl = out[2]};
}

}  // namespace flowawr
