#include "learner/reward_figures.h"

#include <ATen/ops/tensor.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_terms.h"
#include "learner/running_mean.h"

namespace flowawr {
namespace {

constexpr size_t kLongestReason = 200;

// Whether the first scorer that is no shadow said that the image is exactly what was asked for; nullopt: it did not say.
std::optional<bool> SaidExact(const Group& group, int64_t sample) {
  const int first = FirstTrainedTerm(group.lease.reward_spec());
  if (sample >= group.header.samples_size() || group.header.samples(sample).terms_size() <= first) return std::nullopt;
  const auto& details = group.header.samples(sample).terms(first).details();
  const auto said = details.find("exact");
  if (said == details.end() || (said->second != "true" && said->second != "false")) return std::nullopt;
  return said->second == "true";
}

}  // namespace

double WeightedReward(const Group& group, int64_t sample) {
  double sum = 0;
  for (int term = 0; term < group.lease.reward_spec().terms_size(); ++term) {
    const v1::RewardSpecTerm& of = group.lease.reward_spec().terms(term);
    if (!IsShadow(of)) sum += of.weight() * group.rewards[term][sample].item<double>();
  }
  return sum;
}

RewardFigures MeasureRewards(const std::vector<Group>& groups) {
  RewardFigures figures;
  RunningMean reward, exact;
  std::map<std::string, RunningMean> by_scorer;
  for (const Group& group : groups) {
    for (int64_t sample = 0; sample < group.rewards.size(1); ++sample) {
      ++figures.images;
      reward.Add(WeightedReward(group, sample));
      if (const std::optional<bool> is_exact = SaidExact(group, sample)) exact.Add(*is_exact ? 1 : 0);
      for (int term = 0; term < group.lease.reward_spec().terms_size(); ++term) {
        const std::string& scorer = group.lease.reward_spec().terms(term).scorer();
        const double score = group.rewards[term][sample].item<double>();
        by_scorer[scorer].Add(score);
        if (std::isfinite(score)) continue;
        RewardFigures::Missing& missing = figures.missing[scorer];
        ++missing.images;
        missing.is_shadow = IsShadow(group.lease.reward_spec().terms(term));
        if (sample < group.header.samples_size() && term < group.header.samples(sample).terms_size())
          missing.why = group.header.samples(sample).terms(term).error().message();
      }
    }
  }
  figures.mean = reward.mean();
  figures.standard_error = reward.standard_error();
  figures.exact_share = exact.mean();
  for (const auto& [scorer, mean] : by_scorer)
    if (mean.mean()) figures.by_scorer[scorer] = *mean.mean();
  return figures;
}

RewardsByPrompt MeasureByPrompt(const std::vector<Group>& groups) {
  RewardsByPrompt rewards;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (int term = 0; term < groups[i].lease.reward_spec().terms_size(); ++term) {
      std::vector<double>& means = rewards[groups[i].lease.reward_spec().terms(term).scorer()];
      means.resize(groups.size(), std::numeric_limits<double>::quiet_NaN());
      RunningMean mean;
      for (int64_t sample = 0; sample < groups[i].rewards.size(1); ++sample)
        mean.Add(groups[i].rewards[term][sample].item<double>());
      if (mean.mean()) means[i] = *mean.mean();
    }
  }
  return rewards;
}

std::vector<std::string> MissingRewardWarnings(const RewardFigures& figures, const std::string& where) {
  std::vector<std::string> warnings;
  for (const auto& [scorer, missing] : figures.missing) {
    const std::string why =
        missing.why.empty() ? "" : absl::StrCat(" (", TruncateUtf8(missing.why, kLongestReason), ")");
    warnings.push_back(absl::StrCat(missing.is_shadow ? "the shadow " : "the optional reward ", scorer,
                                    " is missing for ", missing.images, " of ", figures.images, " images of ", where,
                                    why, "; the run goes on without it"));
  }
  return warnings;
}

}  // namespace flowawr
