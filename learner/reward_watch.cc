#include "learner/reward_watch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "learner/running_mean.h"

namespace flowawr {
namespace {

// NaN is no number in JSON; it is written as null.
RewardsByPrompt ReadRewards(const nlohmann::json& json) {
  RewardsByPrompt rewards;
  for (const auto& [scorer, values] : json.items())
    for (const nlohmann::json& value : values)
      rewards[scorer].push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>());
  return rewards;
}

struct Comparison {
  double from = 0, to = 0;
  int prompts = 0;
  std::optional<double> standard_error;
};

// Over the prompts that both have a reward of.
Comparison Compare(const std::vector<double>& base, const std::vector<double>& newest) {
  Comparison over;
  RunningMean differences;
  for (size_t i = 0; i < std::min(base.size(), newest.size()); ++i) {
    if (!std::isfinite(base[i]) || !std::isfinite(newest[i])) continue;
    over.from += base[i];
    over.to += newest[i];
    differences.Add(newest[i] - base[i]);
    ++over.prompts;
  }
  if (over.prompts == 0) return over;
  over.from /= over.prompts;
  over.to /= over.prompts;
  over.standard_error = differences.standard_error();
  return over;
}

std::map<std::string, double> MaxDrops(const v1::RewardsConfig& rewards) {
  std::map<std::string, double> drops;
  for (const v1::RewardTerm& term : rewards.terms()) drops[term.scorer()] = term.max_drop();
  return drops;
}

}  // namespace

void RewardWatch::Add(const v1::RewardSpec& spec, RewardsByPrompt rewards) {
  newest_ = std::move(rewards);
  for (auto& [scorer, values] : newest_) values.resize(std::min(values.size(), kMostPrompts));
  std::erase_if(newest_, [](const auto& of_scorer) {
    return std::none_of(of_scorer.second.begin(), of_scorer.second.end(),
                        [](double value) { return std::isfinite(value); });
  });
  for (const v1::RewardSpecTerm& term : spec.terms())
    if (const auto found = newest_.find(term.scorer()); found != newest_.end()) base_.insert(*found);
}

void RewardWatch::Keep(const v1::RewardSpec& spec) {
  std::set<std::string> scorers;
  for (const v1::RewardSpecTerm& term : spec.terms()) scorers.insert(term.scorer());
  for (RewardsByPrompt* rewards : {&base_, &newest_})
    std::erase_if(*rewards, [&](const auto& of_scorer) { return !scorers.contains(of_scorer.first); });
}

std::vector<RewardFall> RewardWatch::Judge(const v1::RewardSpec& spec) const {
  std::vector<RewardFall> falls;
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    const auto base = base_.find(term.scorer()), newest = newest_.find(term.scorer());
    if (term.max_drop() <= 0 || base == base_.end() || newest == newest_.end()) continue;
    const Comparison over = Compare(base->second, newest->second);
    if (over.prompts > 0 && over.to < over.from - term.max_drop())
      falls.push_back({.scorer = term.scorer(),
                       .from = over.from,
                       .to = over.to,
                       .max_drop = term.max_drop(),
                       .prompts = over.prompts,
                       .standard_error = over.standard_error});
  }
  return falls;
}

void RewardWatch::Accept(const std::vector<RewardFall>& falls) {
  for (const RewardFall& fall : falls)
    if (const auto newest = newest_.find(fall.scorer); newest != newest_.end())  // its term was not removed meanwhile
      base_.insert_or_assign(newest->first, newest->second);
}

std::string RewardWatch::ToJson() const {
  const nlohmann::json json = {{"measured_by", measured_by_}, {"base", base_}, {"newest", newest_}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

bool RewardWatch::Restore(const std::string& text) {
  base_.clear();
  newest_.clear();
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (json.at("measured_by").get<std::string>() != measured_by_) return false;
    RewardsByPrompt base = ReadRewards(json.at("base")), newest = ReadRewards(json.at("newest"));
    base_ = std::move(base);
    newest_ = std::move(newest);
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  return true;
}

void TakeMaxDrops(const v1::RewardsConfig& before, const v1::RewardsConfig& now, v1::RewardSpec* spec) {
  const std::map<std::string, double> was = MaxDrops(before), is = MaxDrops(now);
  for (v1::RewardSpecTerm& term : *spec->mutable_terms()) {
    const auto given = is.find(term.scorer()), saved = was.find(term.scorer());
    if (given == is.end()) continue;
    const bool is_new = saved == was.end() || saved->second != given->second;
    if (spec->version() == 1 || is_new) term.set_max_drop(given->second);
  }
}

std::vector<std::string> FallWarnings(const std::vector<RewardFall>& falls, uint64_t update) {
  std::vector<std::string> warnings;
  for (const RewardFall& fall : falls) {
    const std::string error =
        fall.standard_error ? absl::StrFormat("; standard error of the fall: %.2g", *fall.standard_error) : "";
    warnings.push_back(absl::StrFormat("the held-out reward of %s fell from %.4g to %.4g by update %d, by more than "
                                       "its max_drop of %g (over %d %s%s)",
                                       fall.scorer, fall.from, fall.to, update, fall.max_drop, fall.prompts,
                                       fall.prompts == 1 ? "prompt" : "prompts", error));
  }
  return warnings;
}

}  // namespace flowawr
