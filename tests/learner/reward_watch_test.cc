#include "learner/reward_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::RewardsConfig Terms(const std::map<std::string, double>& max_drop) {
  v1::RewardsConfig rewards;
  for (const auto& [scorer, drop] : max_drop) {
    v1::RewardTerm& term = *rewards.add_terms();
    term.set_scorer(scorer);
    term.set_max_drop(drop);
  }
  return rewards;
}

v1::EvaluationSummary Means(const std::map<std::string, double>& means) {
  v1::EvaluationSummary summary;
  *summary.mutable_by_scorer() = {means.begin(), means.end()};
  return summary;
}

std::vector<std::string> Fallen(const RewardWatch& watch, const std::map<std::string, double>& base,
                                const std::map<std::string, double>& now) {
  std::vector<std::string> names;
  for (const RewardFall& fall : watch.Judge(Means(base), Means(now))) names.push_back(fall.scorer);
  return names;
}

TEST(RewardWatchTest, FindsWhatFellFurtherThanItMay) {
  const RewardWatch watch(Terms({{"a", .1}, {"b", .5}, {"free", 0}}));
  EXPECT_THAT(Fallen(watch, {{"a", 1}, {"b", 1}, {"free", 1}}, {{"a", .5}, {"b", .75}, {"free", -9}}), ElementsAre("a"));
  EXPECT_THAT(Fallen(watch, {{"a", 1}, {"b", 1}}, {{"a", 2}, {"b", .4}}), ElementsAre("b"));
  EXPECT_THAT(Fallen(watch, {{"a", 1}, {"b", 1}}, {{"a", .91}, {"b", .51}}), IsEmpty());
  EXPECT_THAT(Fallen(watch, {{"a", -3}}, {{"a", -3.2}}), ElementsAre("a"));
}

TEST(RewardWatchTest, JudgesNothingThatNobodyMeasured) {
  const RewardWatch watch(Terms({{"a", .1}}));
  EXPECT_THAT(Fallen(watch, {}, {{"a", -9}}), IsEmpty());
  EXPECT_THAT(Fallen(watch, {{"a", 9}}, {}), IsEmpty());
}

TEST(RewardWatchTest, MeasuresFromWhereSomebodyAcceptedAFall) {
  RewardWatch watch(Terms({{"a", .1}}));
  const v1::EvaluationSummary base = Means({{"a", 1}});
  watch.Accept(watch.Judge(base, Means({{"a", .8}})));
  EXPECT_THAT(Fallen(watch, {{"a", 1}}, {{"a", .75}}), IsEmpty());
  EXPECT_THAT(Fallen(watch, {{"a", 1}}, {{"a", .65}}), ElementsAre("a"));
}

TEST(RewardWatchTest, SaysWhatFellFromWhereToWhere) {
  EXPECT_THAT(FallWarnings({{.scorer = "pickscore", .from = 21.5, .to = 20.25, .max_drop = 1}}, 40),
              ElementsAre("the held-out reward of pickscore fell from 21.5 to 20.25 by update 40, by more than its max_drop "
                          "of 1"));
}

}  // namespace
}  // namespace flowawr
