#include "learner/batch_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "common/diffusion/noise.h"

namespace flowawr {
namespace {

using ::testing::DoubleEq;

Group MadeBy(uint64_t version) {
  Group group;
  group.lease.set_policy_version(version);
  return group;
}

BatchSignals Signals(const at::Tensor& values, int64_t equal, double clip = 3) {
  BatchSignals signals;
  signals.values = values.to(at::kFloat);
  signals.all_equal_groups = equal;
  signals.clip = clip;
  return signals;
}

TEST(BatchFiguresTest, MeasuresSignalsAndGroupsThatPreferNoSample) {
  const at::Tensor signals = at::tensor({3.0, -3.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0}).reshape({2, 4});
  const BatchFigures figures = MeasureBatch({MadeBy(1), MadeBy(1)}, Signals(signals, 1), {1});
  EXPECT_THAT(figures.equal_groups_share, DoubleEq(.5));
  EXPECT_THAT(figures.signal.at("mean"), DoubleEq(0));
  EXPECT_THAT(figures.signal.at("least"), DoubleEq(-3));
  EXPECT_THAT(figures.signal.at("greatest"), DoubleEq(3));
  EXPECT_THAT(figures.signal.at("clipped_share"), DoubleEq(.25));
}

TEST(BatchFiguresTest, FindsWhatWasClippedAtALimitThatHasNoExactFloat) {
  const BatchFigures figures = MeasureBatch({MadeBy(1)}, Signals(at::tensor({0.1, -0.05}).reshape({1, 2}), 0, .1), {1});
  EXPECT_THAT(figures.signal.at("clipped_share"), DoubleEq(.5));
}

// Versions 2 and 5 were published for evaluations; after version 4 an update was skipped.
TEST(BatchFiguresTest, CountsHowFarBehindGroupsAreInVersionsThatTrain) {
  const std::vector<uint64_t> versions = {1, 3, 4, 4, 6};
  const at::Tensor signals = at::zeros({3, 2});
  const BatchFigures figures = MeasureBatch({MadeBy(6), MadeBy(4), MadeBy(3)}, Signals(signals, 3), versions);
  EXPECT_EQ(figures.staleness_max, 3u);
  EXPECT_EQ(figures.oldest_version, 3u);
  EXPECT_THAT(figures.staleness_mean, DoubleEq((0 + 1 + 3) / 3.0));
}

TEST(BatchFiguresTest, CountsSignalsByBinOfTheirClip) {
  const at::Tensor signals = at::tensor({2.0, -2.0, 0.0, 0.1}).reshape({1, 4});
  const BatchFigures figures = MeasureBatch({MadeBy(1)}, Signals(signals, 0, 2), {1});
  std::vector<double> expected(kSignalBins, 0);
  expected.front() = expected.back() = .25;
  expected[kSignalBins / 2] = .5;
  EXPECT_EQ(figures.signal_histogram, expected);
  const BatchFigures without = MeasureBatch({MadeBy(1)}, Signals(signals, 0, 0), {1});
  EXPECT_TRUE(without.signal_histogram.empty());
  EXPECT_FALSE(without.signal.contains("clipped_share"));
}

TEST(BatchFiguresTest, EffectiveSamplesAreThoseThatCountAlike) {
  const auto of = [](const at::Tensor& signals) {
    return MeasureBatch({MadeBy(1), MadeBy(1)}, Signals(signals, 0), {1}).effective_samples;
  };
  EXPECT_THAT(of(at::tensor({1.0, -1.0, 1.0, 0.0, 2.0, 0.0}).reshape({2, 3})), DoubleEq((3 + 1) / 2.0));
  // The second counts for none.
  EXPECT_THAT(of(at::tensor({1.0, 0.0, 0.0, 0.0, 0.0, 0.0}).reshape({2, 3})), DoubleEq(1));
  EXPECT_THAT(of(at::zeros({2, 3})), DoubleEq(0));
}

TEST(BatchFiguresTest, DiversityIsHowFarSamplesAreFromTheirGroupsMean) {
  Group narrow = MadeBy(1), wide = MadeBy(1);
  const at::Tensor x0 = InitialNoise(1, 0, 0, {5, 2, 33, 73});  // more than one stretch, and no whole number of lanes
  narrow.x0 = x0[0].expand({5, 2, 33, 73}) * 3;
  wide.x0 = x0 + 100;
  const at::Tensor exact = (wide.x0.to(at::kDouble) - wide.x0.to(at::kDouble).mean(0, true)).square().mean().sqrt();
  const BatchFigures figures = MeasureBatch({narrow, wide}, Signals(at::zeros({2, 5}), 2), {1});
  EXPECT_NEAR(figures.diversity, exact.item<double>() / 2, 1e-5);
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
