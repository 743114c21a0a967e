#include "learner/shadow_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

namespace flowawr {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

using Values = std::vector<double>;

TEST(SpearmanCorrelation, IsWhatScipyGives) {
  // scipy.stats.spearmanr, SciPy 1.17.1.
  EXPECT_NEAR(*SpearmanCorrelation({1, 2, 3, 4}, {1, 2, 4, 3}), 0.8, 1e-12);
  EXPECT_NEAR(*SpearmanCorrelation({1, 2, 2, 4}, {3, 1, 2, 9}), 0.316227766016838, 1e-12);
  EXPECT_NEAR(*SpearmanCorrelation({0, 0, 1, 1, 2}, {5, 4, 3, 2, 1}), -0.9486832980505137, 1e-12);
  EXPECT_NEAR(*SpearmanCorrelation({.1, .5, .5, .9, .2, .7}, {3, 3, 1, 8, 2, 2}), 0.2239055377599495, 1e-12);
  EXPECT_DOUBLE_EQ(*SpearmanCorrelation({1e-9, 5, 1e6}, {-3, -2, -1}), 1) << "the order alone counts";
}

TEST(SpearmanCorrelation, IsAbsentWhereThereIsNoOrder) {
  EXPECT_EQ(SpearmanCorrelation({}, {}), std::nullopt);
  EXPECT_EQ(SpearmanCorrelation({1}, {2}), std::nullopt);
  EXPECT_EQ(SpearmanCorrelation({1, 1, 1}, {1, 2, 3}), std::nullopt);
  EXPECT_EQ(SpearmanCorrelation({1, 2, 3}, {4, 4, 4}), std::nullopt);
}

// Of terms "ocr" (weight 1), "pick" and "mute" (shadows).
Group GroupOf(const Values& pick, const Values& mute, uint64_t version = 1) {
  Group group;
  v1::RewardSpec& spec = *group.lease.mutable_reward_spec();
  spec.set_version(version);
  for (const auto& [scorer, weight] : {std::pair("ocr", 1.0), std::pair("pick", 0.0), std::pair("mute", 0.0)}) {
    spec.add_terms()->set_scorer(scorer);
    spec.mutable_terms(spec.terms_size() - 1)->set_weight(weight);
  }
  group.rewards = at::stack({at::zeros({static_cast<int64_t>(pick.size())}, at::kDouble), at::tensor(pick, at::kDouble),
                             at::tensor(mute, at::kDouble)});
  return group;
}

at::Tensor Trained(const std::vector<Values>& rows) {
  std::vector<at::Tensor> tensors;
  for (const Values& row : rows) tensors.push_back(at::tensor(row, at::kDouble));
  return at::stack(tensors);
}

TEST(ShadowComparison, AveragesOverTheGroupsThatBothPutInOrder) {
  ShadowComparison comparison;
  const Values none = {kNan, kNan, kNan, kNan};
  comparison.Add({GroupOf({1, 2, 4, 3}, none), GroupOf({4, 3, 2, 1}, none), GroupOf({1, 1, 1, 1}, none),
                  GroupOf({1, 2, 3, 4}, none)},
                 Trained({{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {5, 5, 5, 5}}));
  const auto figures = comparison.figures();
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].scorer(), "pick");
  EXPECT_EQ(figures[0].groups(), 2u);
  EXPECT_NEAR(figures[0].rank_correlation(), (0.8 - 1) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(figures[0].best_differs(), 1);
  EXPECT_EQ(figures[1].scorer(), "mute");
  EXPECT_EQ(figures[1].groups(), 0u);
}

TEST(ShadowComparison, LeavesOutSamplesWithoutAReward) {
  ShadowComparison comparison;
  comparison.Add({GroupOf({3, kNan, 1, 2}, {kNan, kNan, kNan, 1})}, Trained({{3, 9, 1, kNan}}));
  EXPECT_EQ(comparison.figures()[0].groups(), 1u);
  EXPECT_DOUBLE_EQ(comparison.figures()[0].rank_correlation(), 1);
  EXPECT_EQ(comparison.figures()[1].groups(), 0u) << "of one sample";
}

TEST(ShadowComparison, LeavesOutSamplesThatHaveNoTrainedRewardWhateverTheirEnergy) {
  ShadowComparison comparison;
  Group group = GroupOf({1, 2, 3, 9}, {1, 1, 1, 1});
  group.rewards[0][3] = kNan;
  comparison.Add({group}, Trained({{-1, 0.5, 1, 0}}));
  EXPECT_DOUBLE_EQ(comparison.figures()[0].rank_correlation(), 1);
  EXPECT_DOUBLE_EQ(comparison.figures()[0].best_differs(), 0);
}

TEST(ShadowComparison, ABestSampleThatBothHaveIsNoneThatDiffers) {
  ShadowComparison comparison;
  comparison.Add({GroupOf({0, 7, 7}, {7, 0, 0})}, Trained({{1, 1, 0}}));
  EXPECT_DOUBLE_EQ(comparison.figures()[0].best_differs(), 0);
  EXPECT_DOUBLE_EQ(comparison.figures()[1].best_differs(), 0);
  comparison.Add({GroupOf({0, 7, 7}, {0, 0, 7})}, Trained({{1, 0, 0}}));
  EXPECT_DOUBLE_EQ(comparison.figures()[0].best_differs(), 0.5);
}

TEST(ShadowComparison, ForgetsOldUpdatesAndOtherSpecs) {
  ShadowComparison comparison;
  const at::Tensor up = Trained({{1, 2, 3}});
  comparison.Add({GroupOf({3, 2, 1}, {1, 2, 3})}, up);
  for (size_t i = 1; i < ShadowComparison::kUpdates; ++i) comparison.Add({GroupOf({1, 2, 3}, {1, 2, 3})}, up);
  EXPECT_EQ(comparison.figures()[0].groups(), ShadowComparison::kUpdates);
  EXPECT_LT(comparison.figures()[0].rank_correlation(), 1);
  comparison.Add({GroupOf({1, 2, 3}, {1, 2, 3})}, up);
  EXPECT_EQ(comparison.figures()[0].groups(), ShadowComparison::kUpdates);
  EXPECT_DOUBLE_EQ(comparison.figures()[0].rank_correlation(), 1);
  comparison.Add({GroupOf({3, 2, 1}, {1, 2, 3}, /*version=*/2)}, up);
  EXPECT_EQ(comparison.figures()[0].groups(), 1u);
  EXPECT_DOUBLE_EQ(comparison.figures()[0].rank_correlation(), -1);
}

TEST(ShadowComparison, GoesOnFromWhatACheckpointHolds) {
  ShadowComparison before, after;
  const at::Tensor up = Trained({{1, 2, 3}});
  before.Add({GroupOf({3, 2, 1}, {1, 2, 3})}, up);
  before.Add({GroupOf({1, 3, 2}, {1, 1, 1})}, up);
  after.Restore(before.ToJson());
  EXPECT_EQ(after.ToJson(), before.ToJson());
  for (ShadowComparison* comparison : {&before, &after}) comparison->Add({GroupOf({1, 2, 3}, {3, 2, 1})}, up);
  ASSERT_EQ(after.figures().size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(after.figures()[i].SerializeAsString(), before.figures()[i].SerializeAsString());
  EXPECT_EQ(after.figures()[0].groups(), 3u);
}

TEST(ShadowComparison, BeginsAnewFromWhatItDidNotWrite) {
  ShadowComparison comparison;
  for (const char* text : {"", "no JSON", "[]", R"({"reward_spec": 1, "scorers": ["a"], "updates": [[]]})",
                           R"({"reward_spec": 1, "scorers": ["a"], "updates": [[{"groups": "many"}]]})"}) {
    comparison.Add({GroupOf({3, 2, 1}, {1, 2, 3})}, Trained({{1, 2, 3}}));
    comparison.Restore(text);
    EXPECT_TRUE(comparison.figures().empty()) << text;
  }
}

TEST(ShadowComparison, HasNothingToSayWithoutShadows) {
  ShadowComparison comparison;
  EXPECT_TRUE(comparison.figures().empty());
  Group group = GroupOf({1, 2}, {1, 2});
  for (v1::RewardSpecTerm& term : *group.lease.mutable_reward_spec()->mutable_terms()) term.set_weight(1);
  comparison.Add({group}, Trained({{1, 2}}));
  EXPECT_TRUE(comparison.figures().empty());
}

}  // namespace
}  // namespace flowawr
