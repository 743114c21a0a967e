// The rows of methods that train on where a sample's way ended, by FlowAWR's.
#include "learner/algorithm/forward_algorithm.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <numeric>

#include "common/diffusion/noise.h"
#include "learner/algorithm/flow_awr.h"
#include "learner/random_streams.h"
#include "tests/learner/algorithm/methods.h"

namespace flowawr {
namespace {

constexpr uint64_t kSeed = 3, kUpdate = 7;
const std::vector<float> kSigmas = {1, 0.8f, 0.5f, 0.2f, 0};  // four steps, of which training draws from three

class ForwardAlgorithmTest : public testing::Test {
 protected:
  ForwardAlgorithmTest() {
    group_.lease.set_group_id(10);
    group_.x0 = InitialNoise(11, 10, 0, {4, 2, 3, 5});
  }

  Rows RowsOf(const std::vector<int64_t>& samples, int64_t begin, int64_t end) const {
    return method_.MakeRows({.seed = kSeed,
                             .update = kUpdate,
                             .group = &group_,
                             .samples = &samples,
                             .begin = begin,
                             .end = end,
                             .signals = at::tensor({0.f, 1.f, 2.f, 3.f})});
  }

  const v1::RunConfig config_ = MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); });
  const FlowAwr method_{config_, kSigmas};
  Group group_;
};

TEST_F(ForwardAlgorithmTest, MixesEachSampleWithNoiseOfItsOwnAtSigmasOfTheRollout) {
  const Rows rows = RowsOf({0, 1, 2, 3}, 0, 8);
  ASSERT_EQ(method_.rows_per_sample(), 2);
  for (int64_t row = 0; row < 8; ++row) {
    const int64_t sample = row / 2;
    const std::vector<int> drawn = DrawSigmas(kSeed, kUpdate, 10, sample, 3, 2);
    EXPECT_EQ(rows.step[row], drawn[row % 2]);
    const float t = kSigmas[drawn[row % 2]];
    EXPECT_EQ(rows.sigma[row].item<float>(), t);
    EXPECT_EQ(rows.signal[row].item<float>(), static_cast<float>(sample));
    EXPECT_TRUE(at::equal(rows.x0[row], group_.x0[sample]));
    const at::Tensor noise =
        InitialNoise(TrainingNoiseSeed(kSeed) + kUpdate, 10, static_cast<uint32_t>(row), {2, 3, 5});
    EXPECT_TRUE(at::equal(rows.noise[row], noise));
    EXPECT_TRUE(at::allclose(rows.x[row], (1 - t) * group_.x0[sample] + t * noise, 1e-6, 1e-6));
  }
}

TEST_F(ForwardAlgorithmTest, ARowIsTheSameWhateverOthersAreTrainedBesideIt) {
  const Rows all = RowsOf({0, 1, 2, 3}, 0, 8), some = RowsOf({1, 3}, 0, 4), end = RowsOf({1, 3}, 3, 4);
  for (const auto& [row, of_all] : {std::pair<int64_t, int64_t>{0, 2}, {1, 3}, {2, 6}, {3, 7}}) {
    EXPECT_TRUE(at::equal(some.x[row], all.x[of_all]));
    EXPECT_EQ(some.sigma[row].item<float>(), all.sigma[of_all].item<float>());
  }
  EXPECT_TRUE(at::equal(end.x[0], all.x[7]));
}

TEST_F(ForwardAlgorithmTest, SamplesAlongTheOdeAsConfigured) {
  v1::Lease lease;
  lease.mutable_stochastic()->set_count(3);
  method_.PrepareLease(lease);
  EXPECT_FALSE(lease.has_stochastic());
  EXPECT_EQ(lease.sampler().steps(), 4);
}

TEST_F(ForwardAlgorithmTest, DrawsAtLeastOneSigma) {
  v1::RunConfig config = config_;
  config.mutable_train()->set_timestep_fraction(0.01);
  EXPECT_EQ(FlowAwr(config, kSigmas).rows_per_sample(), 1);
}

}  // namespace
}  // namespace flowawr
