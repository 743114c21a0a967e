#include "learner/reward_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Scorer "ocr" gave every reward; scorer "small" gave none for the second image, and said why.
Group GroupWithAnError(const std::string& why) {
  Group group;
  for (const char* scorer : {"ocr", "small"}) {
    v1::RewardSpecTerm& term = *group.lease.mutable_reward_spec()->add_terms();
    term.set_scorer(scorer);
    term.set_weight(2);
  }
  group.rewards = at::tensor({1.0, 0.5, 0.25, kNan}, at::kDouble).view({2, 2});
  for (int sample = 0; sample < 2; ++sample) {
    v1::SampleScores& scores = *group.header.add_samples();
    scores.add_terms();
    scores.add_terms()->mutable_error()->set_message(sample == 1 ? why : "");
  }
  return group;
}

TEST(RewardFiguresTest, TellWhatIsMissingAndWhy) {
  const RewardFigures figures = MeasureRewards({GroupWithAnError("the lamp is out")});
  EXPECT_EQ(figures.images, 2u);
  EXPECT_DOUBLE_EQ(figures.mean.value(), 2.5);
  EXPECT_FALSE(figures.standard_error);
  ASSERT_EQ(figures.missing.size(), 1u);
  EXPECT_EQ(figures.missing.at("small").images, 1u);
  EXPECT_THAT(MissingRewardWarnings(figures, "update 7"),
              ElementsAre(AllOf(HasSubstr("small"), HasSubstr("1 of 2 images of update 7"), HasSubstr("lamp"))));
}

TEST(RewardFiguresTest, LeaveShadowsOutOfTheRewardButTellTheirMeans) {
  Group group = GroupWithAnError("the lamp is out");
  v1::RewardSpec& spec = *group.lease.mutable_reward_spec();
  spec.mutable_terms(1)->set_weight(0);
  const RewardFigures figures = MeasureRewards({group});
  EXPECT_DOUBLE_EQ(figures.mean.value(), 2 * 0.75) << "the second image has all that counts";
  EXPECT_DOUBLE_EQ(figures.by_scorer.at("small"), 0.25);
  EXPECT_THAT(MissingRewardWarnings(figures, "update 7"), ElementsAre(HasSubstr("the shadow small is missing")));

  // Exact is the word of the first that is trained on.
  for (int term : {0, 1})
    (*group.header.mutable_samples(0)->mutable_terms(term)->mutable_details())["exact"] = term == 0 ? "false" : "true";
  EXPECT_EQ(MeasureRewards({group}).exact_share, 0);
  spec.mutable_terms(0)->set_weight(0);
  spec.mutable_terms(1)->set_weight(1);
  EXPECT_EQ(MeasureRewards({group}).exact_share, 1);
}

TEST(RewardFiguresTest, WarnInNoMoreWordsThanPeopleRead) {
  const RewardFigures figures = MeasureRewards({GroupWithAnError(std::string(100'000, 'x'))});
  EXPECT_LT(MissingRewardWarnings(figures, "update 7").front().size(), 400u);
}

TEST(RewardFiguresTest, WarnOfNothingWhenNothingIsMissing) {
  Group group = GroupWithAnError("");
  group.rewards[1][1] = 0.5;
  EXPECT_TRUE(MissingRewardWarnings(MeasureRewards({group}), "update 7").empty());
}

TEST(RewardFiguresTest, TellTheMeanOfEachPrompt) {
  Group other = GroupWithAnError("");
  other.lease.mutable_reward_spec()->mutable_terms(1)->set_scorer("new");
  other.rewards = at::tensor({2.0, 4.0, kNan, kNan}, at::kDouble).view({2, 2});
  RewardsByPrompt rewards = MeasureByPrompt({GroupWithAnError(""), other});
  EXPECT_THAT(rewards.at("ocr"), ElementsAre(0.75, 3));
  EXPECT_THAT(rewards.at("small"), ElementsAre(0.25, testing::IsNan()));
  EXPECT_THAT(rewards.at("new"), ElementsAre(testing::IsNan(), testing::IsNan()));
}

}  // namespace
}  // namespace flowawr
