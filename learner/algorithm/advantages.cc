#include "learner/algorithm/advantages.h"

#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <map>

namespace flowawr {
namespace {

constexpr double kStdFloor = 1e-4;

// True where a group has no two different finite values.
at::Tensor IsAllEqual(const at::Tensor& values) {
  const double infinity = INFINITY;
  return values.nan_to_num(-infinity).amax(-1) <= values.nan_to_num(infinity).amin(-1);
}

at::Tensor SignalsOf(const at::Tensor& rewards, const AdvantageOptions& options, SignalsOfAdvantages signals_of) {
  const at::Tensor advantages = ComputeAdvantages(rewards, options);
  return signals_of(advantages).masked_fill(~at::isfinite(advantages) | IsAllEqual(advantages).unsqueeze(-1), 0);
}

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

Moments FiniteMoments(const at::Tensor& values) {
  const at::Tensor is_finite = at::isfinite(values);
  const at::Tensor divisor = is_finite.sum(-1, /*keepdim=*/true).to(at::kDouble).clamp_min(1);
  const at::Tensor mean = values.nan_to_num(0).sum(-1, true) / divisor;
  return {mean, (values - mean).square().nan_to_num(0).sum(-1, true) / divisor};
}

at::Tensor ComputeAdvantages(const at::Tensor& rewards, const AdvantageOptions& options) {
  const Moments group = FiniteMoments(rewards);
  const at::Tensor std =
      options.std_scope == v1::GROUP ? group.variance.sqrt() : FiniteMoments(rewards.flatten()).variance.sqrt();
  return ((rewards - group.mean) / (std + kStdFloor)).clamp(-options.clip, options.clip);
}

ExcessWeights ComputeExcessWeights(const at::Tensor& advantages) {
  const at::Tensor is_finite = at::isfinite(advantages);
  const at::Tensor samples = is_finite.sum(-1, true).to(at::kDouble).clamp_min(1);
  const at::Tensor p = at::softmax(advantages.masked_fill(~is_finite, -1e300), -1);
  return {p - 1 / samples, samples};
}

BatchSignals CombineRewards(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                            const AdvantageOptions& options, SignalsOfAdvantages signals_of) {
  std::vector<int64_t> trained;
  std::vector<double> trained_weights;
  for (size_t term = 0; term < weights.size(); ++term)
    if (weights[term] != 0) trained.push_back(static_cast<int64_t>(term)), trained_weights.push_back(weights[term]);
  if (trained.size() < weights.size())
    return CombineRewards(rewards.index_select(0, at::tensor(trained, at::kLong)), trained_weights, combination, options,
                          signals_of);
  const at::Tensor weight = at::tensor(weights, at::kDouble).view({-1, 1, 1});
  BatchSignals batch;
  batch.rewards = (weight * rewards).sum(0);
  at::Tensor signals = at::zeros_like(batch.rewards);
  if (combination == v1::DECOUPLED) {
    for (int64_t term = 0; term < rewards.size(0); ++term)
      signals += weights[term] * SignalsOf(rewards[term], options, signals_of);
    const at::Tensor magnitude = (weight.abs() * at::isfinite(rewards).to(at::kDouble)).sum(0);
    signals = at::where(magnitude > 0, signals / magnitude, at::zeros_like(signals));
  } else {
    for (const auto& [terms, groups] : GroupsByTerms(rewards)) {
      const at::Tensor terms_index = at::tensor(terms, at::kLong), groups_index = at::tensor(groups, at::kLong);
      const at::Tensor sums =
          (weight.index_select(0, terms_index) * rewards.index_select(0, terms_index).index_select(1, groups_index))
              .sum(0);
      signals.index_copy_(0, groups_index, SignalsOf(sums, options, signals_of));
    }
  }
  batch.values = signals.to(at::kFloat);
  const at::Tensor is_zero = (batch.values == 0).all(-1).contiguous();
  for (int64_t group = 0; group < is_zero.size(0); ++group) {
    batch.is_all_equal.push_back(is_zero.data_ptr<bool>()[group]);
    batch.all_equal_groups += batch.is_all_equal.back();
  }
  return batch;
}

}  // namespace flowawr
