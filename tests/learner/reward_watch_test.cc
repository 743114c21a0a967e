#include "learner/reward_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

v1::RewardSpec Terms(const std::map<std::string, double>& max_drop) {
  v1::RewardSpec spec;
  for (const auto& [scorer, drop] : max_drop) {
    v1::RewardSpecTerm& term = *spec.add_terms();
    term.set_scorer(scorer);
    term.set_max_drop(drop);
  }
  return spec;
}

std::vector<std::string> Fallen(const RewardWatch& watch, const v1::RewardSpec& spec) {
  std::vector<std::string> names;
  for (const RewardFall& fall : watch.Judge(spec)) names.push_back(fall.scorer);
  return names;
}

// Of two evaluations of one prompt.
std::vector<std::string> Fallen(const v1::RewardSpec& spec, const RewardsByPrompt& base, const RewardsByPrompt& now) {
  RewardWatch watch;
  watch.Add(spec, base);
  watch.Add(spec, now);
  return Fallen(watch, spec);
}

TEST(RewardWatchTest, FindsWhatFellFurtherThanItMay) {
  const v1::RewardSpec spec = Terms({{"a", .1}, {"b", .5}, {"free", 0}});
  EXPECT_THAT(Fallen(spec, {{"a", {1}}, {"b", {1}}, {"free", {1}}}, {{"a", {.5}}, {"b", {.75}}, {"free", {-9}}}),
              ElementsAre("a"));
  EXPECT_THAT(Fallen(spec, {{"a", {1}}, {"b", {1}}}, {{"a", {2}}, {"b", {.4}}}), ElementsAre("b"));
  EXPECT_THAT(Fallen(spec, {{"a", {1}}, {"b", {1}}}, {{"a", {.91}}, {"b", {.51}}}), IsEmpty());
  EXPECT_THAT(Fallen(spec, {{"a", {-3}}}, {{"a", {-3.2}}}), ElementsAre("a"));
}

TEST(RewardWatchTest, ComparesThePromptsThatBothEvaluationsHaveARewardOf) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  EXPECT_THAT(Fallen(spec, {{"a", {0, 1, 1}}}, {{"a", {0, .95}}}), IsEmpty())
      << "a shorter one, whose prompts are harder";
  EXPECT_THAT(Fallen(spec, {{"a", {1, 1}}}, {{"a", {.5, .5, 9}}}), ElementsAre("a"))
      << "a longer one, of easier prompts";
  EXPECT_THAT(Fallen(spec, {{"a", {1, .2}}}, {{"a", {kNan, .2}}}), IsEmpty());
  EXPECT_THAT(Fallen(spec, {{"a", {kNan, .2}}}, {{"a", {9, 0}}}), ElementsAre("a"));
  EXPECT_THAT(Fallen(spec, {{"a", {1, kNan}}}, {{"a", {kNan, 0}}}), IsEmpty());
}

TEST(RewardWatchTest, TellsTheStandardErrorOfTheDifferencesPromptByPrompt) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  RewardWatch watch;
  watch.Add(spec, {{"a", {0, 10, kNan, 20}}});
  watch.Add(spec, {{"a", {-1, 8, 5, 17}}});  // -1, -2 and -3: however far apart the prompts are
  const std::vector<RewardFall> falls = watch.Judge(spec);
  ASSERT_THAT(falls, testing::SizeIs(1));
  EXPECT_EQ(falls[0].prompts, 3);
  EXPECT_DOUBLE_EQ(falls[0].standard_error.value(), 1 / std::sqrt(3));
  watch.Add(spec, {{"a", {-1}}});
  EXPECT_EQ(watch.Judge(spec).at(0).standard_error, std::nullopt) << "of one prompt nobody knows";
}

TEST(RewardWatchTest, JudgesNothingThatNobodyMeasured) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  EXPECT_THAT(Fallen(spec, {{"a", {9}}}, {}), IsEmpty());
  EXPECT_THAT(Fallen(RewardWatch(), spec), IsEmpty());
}

TEST(RewardWatchTest, MeasuresFromTheFirstEvaluationThatHasAReward) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  RewardWatch watch;
  watch.Add(spec, {{"a", {kNan}}});
  watch.Add(spec, {{"a", {.5}}});
  EXPECT_THAT(Fallen(watch, spec), IsEmpty());
  watch.Add(spec, {{"a", {.3}}});
  EXPECT_THAT(Fallen(watch, spec), ElementsAre("a"));
}

TEST(RewardWatchTest, WatchesTermsAsTheyComeAndGo) {
  const v1::RewardSpec one = Terms({{"a", .1}}), two = Terms({{"a", .1}, {"b", .1}});
  RewardWatch watch;
  watch.Add(one, {{"a", {1}}});
  watch.Add(two, {{"a", {1}}, {"b", {.8}}});
  EXPECT_THAT(Fallen(watch, two), IsEmpty());
  watch.Add(two, {{"a", {1}}, {"b", {.5}}});
  EXPECT_THAT(Fallen(watch, two), ElementsAre("b"));
  EXPECT_THAT(Fallen(watch, one), IsEmpty()) << "removed";
  watch.Keep(one);
  EXPECT_THAT(Fallen(watch, two), IsEmpty()) << "back, and not evaluated since";
  watch.Add(one, {{"a", {1}}, {"b", {.9}}});  // that was under way when it was removed
  watch.Add(two, {{"a", {1}}, {"b", {.5}}});
  EXPECT_THAT(Fallen(watch, two), IsEmpty());
}

TEST(RewardWatchTest, MeasuresFromWhereSomebodyAcceptedAFall) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  RewardWatch watch;
  watch.Add(spec, {{"a", {1}}});
  watch.Add(spec, {{"a", {.8}}});
  watch.Accept(watch.Judge(spec));
  EXPECT_THAT(Fallen(watch, spec), IsEmpty());
  watch.Add(spec, {{"a", {.75}}});
  EXPECT_THAT(Fallen(watch, spec), IsEmpty());
  watch.Add(spec, {{"a", {.65}}});
  EXPECT_THAT(Fallen(watch, spec), ElementsAre("a"));
}

TEST(RewardWatchTest, ARewardThatWasRemovedWhileItsFallWasLookedAtIsMeasuredAnewWhenItComesBack) {
  const v1::RewardSpec spec = Terms({{"a", .1}}), without = Terms({{"b", .1}});
  RewardWatch watch;
  watch.Add(spec, {{"a", {1}}});
  watch.Add(spec, {{"a", {.5}}});
  const std::vector<RewardFall> falls = watch.Judge(spec);
  watch.Keep(without);
  watch.Accept(falls);
  watch.Add(spec, {{"a", {.5}}});
  EXPECT_THAT(Fallen(watch, spec), IsEmpty());
  watch.Add(spec, {{"a", {.3}}});
  EXPECT_THAT(Fallen(watch, spec), ElementsAre("a"));
}

TEST(RewardWatchTest, IsKeptInACheckpointAsItIs) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  RewardWatch watch("40 steps");
  watch.Add(spec, {{"a", {1, kNan, 1. / 3}}});
  watch.Add(spec, {{"a", {.5, 1, 0}}});
  RewardWatch again("40 steps");
  ASSERT_TRUE(again.Restore(watch.ToJson()));
  EXPECT_EQ(again.ToJson(), watch.ToJson());
  EXPECT_THAT(Fallen(again, spec), ElementsAre("a"));
  again.Accept(again.Judge(spec));
  ASSERT_TRUE(watch.Restore(again.ToJson()));
  EXPECT_THAT(Fallen(watch, spec), IsEmpty());
}

TEST(RewardWatchTest, BeginsAnewWithWhatItCannotCompare) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  RewardWatch watch("40 steps"), others("4 steps");
  watch.Add(spec, {{"a", {1}}});
  watch.Add(spec, {{"a", {.5}}});
  EXPECT_FALSE(others.Restore(watch.ToJson()));
  EXPECT_THAT(Fallen(others, spec), IsEmpty());
  for (const char* json : {"", "{", "[]", "{}", R"({"measured_by": "40 steps", "base": {"a": ["x"]}, "newest": {}})"}) {
    EXPECT_FALSE(watch.Restore(json)) << json;
    EXPECT_THAT(Fallen(watch, spec), IsEmpty()) << json;
  }
}

TEST(RewardWatchTest, KeepsNoMorePromptsThanACheckpointHolds) {
  const v1::RewardSpec spec = Terms({{"a", .1}});
  std::vector<double> base(RewardWatch::kMostPrompts + 1, 0), now = base;
  base.back() = 1e9;
  EXPECT_THAT(Fallen(spec, {{"a", base}}, {{"a", now}}), IsEmpty());
}

v1::RewardsConfig Config(double max_drop) {
  v1::RewardsConfig rewards;
  rewards.add_terms()->set_scorer("a");
  rewards.mutable_terms(0)->set_max_drop(max_drop);
  return rewards;
}

TEST(TakeMaxDrops, TakesWhatTheConfigurationSaysUnlessASwapSaidSomethingElseSince) {
  struct Row {
    uint64_t version;
    double before, now, of_spec, expected;
  };
  for (const Row& row : {Row{1, .1, .1, 0, .1}, Row{1, .1, .2, .1, .2}, Row{2, .1, .1, .5, .5}, Row{2, .1, .1, 0, 0},
                         Row{2, .1, .2, .5, .2}, Row{2, .1, 0, .5, 0}}) {
    v1::RewardSpec spec = Terms({{"a", row.of_spec}, {"swapped in", .7}});
    spec.set_version(row.version);
    TakeMaxDrops(Config(row.before), Config(row.now), &spec);
    EXPECT_EQ(spec.terms(0).max_drop(), row.expected) << row.version << " " << row.before << " " << row.now;
    EXPECT_EQ(spec.terms(1).max_drop(), .7);
  }
}

TEST(RewardWatchTest, SaysWhatFellFromWhereToWhere) {
  RewardFall fall{
      .scorer = "pickscore", .from = 21.5, .to = 20.25, .max_drop = 1, .prompts = 64, .standard_error = .25};
  EXPECT_THAT(FallWarnings({fall}, 40),
              ElementsAre("the held-out reward of pickscore fell from 21.5 to 20.25 by update 40, by more than its "
                          "max_drop of 1 (over 64 prompts; standard error of the fall: 0.25)"));
  fall.prompts = 1;
  fall.standard_error = std::nullopt;
  EXPECT_THAT(FallWarnings({fall}, 40), ElementsAre(testing::EndsWith("max_drop of 1 (over 1 prompt)")));
}

}  // namespace
}  // namespace flowawr
