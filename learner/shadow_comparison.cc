#include "learner/shadow_comparison.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

// From 0; equal values have the mean of the ranks that they take up.
std::vector<double> RanksOf(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end - 1) / 2;
  }
  return ranks;
}

bool SharesABest(const std::vector<double>& a, const std::vector<double>& b) {
  const double best_a = *std::max_element(a.begin(), a.end()), best_b = *std::max_element(b.begin(), b.end());
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] == best_a && b[i] == best_b) return true;
  return false;
}

// Whether the sample has any of the rewards that are trained on; without, its energy is 0, which says nothing of it.
bool IsRewarded(const Group& group, int64_t sample) {
  const v1::RewardSpec& spec = group.lease.reward_spec();
  for (int term = 0; term < spec.terms_size(); ++term)
    if (!IsShadow(spec.terms(term)) && std::isfinite(group.rewards[term][sample].item<double>())) return true;
  return false;
}

}  // namespace

std::optional<double> SpearmanCorrelation(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() < 2) return std::nullopt;
  const std::vector<double> x = RanksOf(a), y = RanksOf(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
    xy += (x[i] - mean) * (y[i] - mean);
  }
  if (xx == 0 || yy == 0) return std::nullopt;
  return xy / std::sqrt(xx * yy);
}

void ShadowComparison::Add(const std::vector<Group>& batch, const at::Tensor& trained) {
  const v1::RewardSpec& spec = batch.front().lease.reward_spec();
  if (spec.version() != spec_version_) {
    spec_version_ = spec.version();
    scorers_.clear();
    updates_.clear();
    for (const v1::RewardSpecTerm& term : spec.terms())
      if (IsShadow(term)) scorers_.push_back(term.scorer());
  }
  if (scorers_.empty()) return;
  const at::Tensor values = trained.to(at::kDouble).contiguous();
  std::vector<Sums>& sums = updates_.emplace_back();
  for (int term = 0; term < spec.terms_size(); ++term) {
    if (!IsShadow(spec.terms(term))) continue;
    Sums& of = sums.emplace_back();
    for (size_t group = 0; group < batch.size(); ++group) {
      const at::Tensor shadow = batch[group].rewards[term].contiguous(), own = values[static_cast<int64_t>(group)];
      std::vector<double> a, b;
      for (int64_t k = 0; k < shadow.size(0); ++k) {
        const double x = own.const_data_ptr<double>()[k], y = shadow.const_data_ptr<double>()[k];
        if (std::isfinite(x) && std::isfinite(y) && IsRewarded(batch[group], k)) a.push_back(x), b.push_back(y);
      }
      const std::optional<double> correlation = SpearmanCorrelation(a, b);
      if (!correlation) continue;
      ++of.groups;
      of.correlation += *correlation;
      of.best_differs += SharesABest(a, b) ? 0 : 1;
    }
  }
  if (updates_.size() > kUpdates) updates_.pop_front();
}

std::vector<v1::ShadowReward> ShadowComparison::figures() const {
  std::vector<v1::ShadowReward> figures;
  for (size_t shadow = 0; shadow < scorers_.size(); ++shadow) {
    Sums total;
    for (const std::vector<Sums>& update : updates_) {
      total.groups += update[shadow].groups;
      total.correlation += update[shadow].correlation;
      total.best_differs += update[shadow].best_differs;
    }
    v1::ShadowReward& figure = figures.emplace_back();
    figure.set_scorer(scorers_[shadow]);
    figure.set_groups(total.groups);
    if (total.groups == 0) continue;
    figure.set_rank_correlation(total.correlation / static_cast<double>(total.groups));
    figure.set_best_differs(static_cast<double>(total.best_differs) / static_cast<double>(total.groups));
  }
  return figures;
}

std::string ShadowComparison::ToJson() const {
  nlohmann::json updates = nlohmann::json::array();
  for (const std::vector<Sums>& update : updates_) {
    nlohmann::json& row = updates.emplace_back(nlohmann::json::array());
    for (const Sums& sums : update)
      row.push_back({{"groups", sums.groups}, {"correlation", sums.correlation}, {"best_differs", sums.best_differs}});
  }
  const nlohmann::json json = {{"reward_spec", spec_version_}, {"scorers", scorers_}, {"updates", updates}};
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void ShadowComparison::Restore(const std::string& text) {
  *this = ShadowComparison();
  ShadowComparison found;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    found.spec_version_ = json.at("reward_spec").get<uint64_t>();
    found.scorers_ = json.at("scorers").get<std::vector<std::string>>();
    for (const nlohmann::json& row : json.at("updates")) {
      std::vector<Sums>& update = found.updates_.emplace_back();
      for (const nlohmann::json& sums : row)
        update.push_back({sums.at("groups").get<uint64_t>(), sums.at("best_differs").get<uint64_t>(),
                          sums.at("correlation").get<double>()});
      if (update.size() != found.scorers_.size() || found.updates_.size() > kUpdates) return;
    }
  } catch (const nlohmann::json::exception&) {
    return;
  }
  *this = std::move(found);
}

}  // namespace flowawr
