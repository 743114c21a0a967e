#include "learner/batch_figures.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using ::testing::DoubleEq;

Group MadeBy(uint64_t version) {
  Group group;
  group.lease.set_policy_version(version);
  return group;
}

BatchEnergies Energies(const at::Tensor& values, int64_t equal) {
  BatchEnergies energies;
  energies.energies = values.to(at::kFloat);
  energies.all_equal_groups = equal;
  return energies;
}

TEST(BatchFiguresTest, MeasuresEnergiesAndGroupsThatTeachNothing) {
  const at::Tensor energies = at::tensor({3.0, -3.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0}).reshape({2, 4});
  const BatchFigures figures = MeasureBatch({MadeBy(1), MadeBy(1)}, Energies(energies, 1), 3, {1});
  EXPECT_THAT(figures.equal_groups_share, DoubleEq(.5));
  EXPECT_THAT(figures.energy.at("mean"), DoubleEq(0));
  EXPECT_THAT(figures.energy.at("least"), DoubleEq(-3));
  EXPECT_THAT(figures.energy.at("greatest"), DoubleEq(3));
  EXPECT_THAT(figures.energy.at("clipped_share"), DoubleEq(.25));
}

TEST(BatchFiguresTest, FindsWhatWasClippedAtALimitThatHasNoExactFloat) {
  const BatchFigures figures = MeasureBatch({MadeBy(1)}, Energies(at::tensor({0.1, -0.05}).reshape({1, 2}), 0), .1, {1});
  EXPECT_THAT(figures.energy.at("clipped_share"), DoubleEq(.5));
}

// Versions 2 and 5 were published for evaluations; after version 4 an update was skipped.
TEST(BatchFiguresTest, CountsHowFarBehindGroupsAreInVersionsThatTrain) {
  const std::vector<uint64_t> versions = {1, 3, 4, 4, 6};
  const at::Tensor energies = at::zeros({3, 2});
  const BatchFigures figures = MeasureBatch({MadeBy(6), MadeBy(4), MadeBy(3)}, Energies(energies, 3), 3, versions);
  EXPECT_EQ(figures.staleness_max, 3u);
  EXPECT_THAT(figures.staleness_mean, DoubleEq((0 + 1 + 3) / 3.0));
}

TEST(BatchFiguresTest, ReplacesWhatTheStatusSaidOfTheBatchBefore) {
  v1::Status status;
  (*status.mutable_reward_by_scorer())["old"] = 1;
  (*status.mutable_energy())["mean"] = 1;
  BatchFigures batch{.equal_groups_share = .5, .staleness_mean = 1, .staleness_max = 2};
  RewardFigures rewards;
  rewards.by_scorer["new"] = 3;
  ShowBatch(batch, rewards, status);
  EXPECT_EQ(status.reward_by_scorer().size(), 1u);
  EXPECT_EQ(status.reward_by_scorer().at("new"), 3);
  EXPECT_TRUE(status.energy().empty());
  EXPECT_EQ(status.staleness_max(), 2u);
}

}  // namespace
}  // namespace flowawr
