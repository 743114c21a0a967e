#include "learner/reward_watch.h"

#include "absl/strings/str_format.h"

namespace flowawr {

RewardWatch::RewardWatch(const v1::RewardsConfig& rewards) {
  for (const v1::RewardTerm& term : rewards.terms())
    if (term.max_drop() > 0) max_drop_[term.scorer()] = term.max_drop();
}

std::vector<RewardFall> RewardWatch::Judge(const v1::EvaluationSummary& base, const v1::EvaluationSummary& now) const {
  std::vector<RewardFall> falls;
  for (const auto& [scorer, max_drop] : max_drop_) {
    const auto first = base.by_scorer().find(scorer), last = now.by_scorer().find(scorer);
    if (first == base.by_scorer().end() || last == now.by_scorer().end()) continue;
    const auto accepted = accepted_.find(scorer);
    const double from = accepted == accepted_.end() ? first->second : accepted->second;
    if (last->second < from - max_drop) falls.push_back({scorer, from, last->second, max_drop});
  }
  return falls;
}

void RewardWatch::Accept(const std::vector<RewardFall>& falls) {
  for (const RewardFall& fall : falls) accepted_[fall.scorer] = fall.to;
}

std::vector<std::string> FallWarnings(const std::vector<RewardFall>& falls, uint64_t update) {
  std::vector<std::string> warnings;
  for (const RewardFall& fall : falls)
    warnings.push_back(absl::StrFormat("the held-out reward of %s fell from %.4g to %.4g by update %d, by more than its "
                                       "max_drop of %g",
                                       fall.scorer, fall.from, fall.to, update, fall.max_drop));
  return warnings;
}

}  // namespace flowawr
