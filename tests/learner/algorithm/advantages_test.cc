#include "learner/algorithm/advantages.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "common/diffusion/noise.h"

namespace flowawr {
namespace {

// Signals that are the advantages themselves.
BatchSignals Combine(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                     const AdvantageOptions& options = {}) {
  return CombineRewards(rewards, weights, combination, options,
                        [](const at::Tensor& advantages) { return advantages; });
}

TEST(CombineRewardsTest, ATermOfWeightZeroChangesNoBitWhateverItsRewardsAre) {
  at::Tensor rewards = InitialNoise(5, 0, 0, {3, 4, 6}).to(at::kDouble);
  rewards[0][1][2] = NAN;
  rewards[1] = at::tensor({1e6, -1e6, NAN, 0.0, 1e-9, 3.0}, at::kDouble).expand({4, 6});  // the shadow's
  rewards[1][3].fill_(NAN);
  const at::Tensor without = at::stack({rewards[0], rewards[2]});
  for (const auto combination : {v1::AVERAGE, v1::DECOUPLED}) {
    const BatchSignals with_shadow = Combine(rewards, {0.8, 0, 0.3}, combination);
    const BatchSignals expected = Combine(without, {0.8, 0.3}, combination);
    EXPECT_TRUE(at::equal(with_shadow.values, expected.values));
    EXPECT_TRUE(at::equal(with_shadow.rewards.nan_to_num(7), expected.rewards.nan_to_num(7)));
    EXPECT_EQ(with_shadow.is_all_equal, expected.is_all_equal);
  }
}

TEST(CombineRewardsTest, TellsWhichGroupsPreferNoSample) {
  at::Tensor rewards = InitialNoise(5, 0, 0, {1, 3, 4}).to(at::kDouble);
  rewards[0][1].fill_(0.1);  // has no exact double: its mean may differ from it
  const BatchSignals signals = Combine(rewards, {1}, v1::AVERAGE);
  EXPECT_EQ(signals.is_all_equal, (std::vector<bool>{false, true, false}));
  EXPECT_EQ(signals.all_equal_groups, 1);
  EXPECT_TRUE(at::equal(signals.values[1], at::zeros({4})));
}

TEST(CombineRewardsTest, ASampleWithoutATermOfItsGroupAsksForNothingWhenAveraged) {
  at::Tensor rewards = InitialNoise(5, 0, 0, {2, 2, 4}).to(at::kDouble);
  rewards[1][0][2] = NAN;
  EXPECT_EQ(Combine(rewards, {1, 1}, v1::AVERAGE).values[0][2].item<float>(), 0);
  EXPECT_NE(Combine(rewards, {1, 1}, v1::DECOUPLED).values[0][2].item<float>(), 0);
}

TEST(ComputeAdvantagesTest, AreClippedDistancesFromTheGroupsMeanInStandardDeviations) {
  const at::Tensor rewards = at::tensor({0.0, 2.0, 10.0, 10.0}, at::kDouble).view({2, 2});
  const at::Tensor by_group = ComputeAdvantages(rewards, {.clip = 0.5, .std_scope = v1::GROUP});
  EXPECT_TRUE(at::equal(by_group, at::tensor({-0.5, 0.5, 0.0, 0.0}, at::kDouble).view({2, 2})));
  const at::Tensor by_batch = ComputeAdvantages(rewards, {.clip = 5, .std_scope = v1::BATCH});
  const double std = std::sqrt((5.5 * 5.5 + 3.5 * 3.5 + 2 * 4.5 * 4.5) / 4);
  EXPECT_NEAR(by_batch[0][1].item<double>(), 1 / (std + 1e-4), 1e-12);
}

TEST(ComputeExcessWeightsTest, CountsTheAdvantagesThatThereAre) {
  const at::Tensor advantages = at::tensor({0.0, NAN, std::log(3.0)}, at::kDouble).view({1, 3});
  const auto [excess, samples] = ComputeExcessWeights(advantages);
  EXPECT_EQ(samples.item<double>(), 2);
  EXPECT_NEAR(excess[0][0].item<double>(), 0.25 - 0.5, 1e-12);
  EXPECT_NEAR(excess[0][2].item<double>(), 0.75 - 0.5, 1e-12);
}

}  // namespace
}  // namespace flowawr
