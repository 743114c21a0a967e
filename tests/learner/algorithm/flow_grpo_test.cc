#include "learner/algorithm/flow_grpo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <set>

#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "tests/learner/algorithm/methods.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

const std::vector<float> kSigmas = {1, 0.95f, 0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.2f, 0.1f, 0};

v1::RunConfig Config(int window, int window_end = 0, v1::SdeKind sde = v1::FLOW_SDE) {
  v1::RunConfig config = MethodConfig([&](v1::AlgorithmConfig& a) {
    ChooseFlowGrpo(a, sde).set_window(window);
    a.mutable_flow_grpo()->set_window_end(window_end);
  });
  config.mutable_sampler()->set_steps(10);
  return config;
}

std::unique_ptr<const Algorithm> Make(const v1::RunConfig& config) {
  auto made = MakeAlgorithm(config, kSigmas);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

v1::StochasticSteps StepsOf(const Algorithm& method, uint64_t group_id) {
  v1::Lease lease;
  lease.set_group_id(group_id);
  method.PrepareLease(lease);
  EXPECT_EQ(lease.sampler().steps(), 10);
  EXPECT_TRUE(CheckStochasticSteps(lease.stochastic(), 10).ok());
  return lease.stochastic();
}

std::set<uint32_t> FirstSteps(const v1::RunConfig& config) {
  const auto method = Make(config);
  std::set<uint32_t> firsts;
  for (uint64_t group = 0; group < 100; ++group) firsts.insert(StepsOf(*method, group).first());
  return firsts;
}

TEST(FlowGrpoTest, AllStepsButTheLastDrawNoiseWithoutAWindow) {
  EXPECT_EQ(StepsOf(*Make(Config(0)), 5).count(), 9u);
  EXPECT_EQ(FirstSteps(Config(0)), (std::set<uint32_t>{0}));
}

TEST(FlowGrpoTest, TheWindowLiesAtAPlaceOfItsOwnInTheFirstHalf) {
  EXPECT_EQ(StepsOf(*Make(Config(3)), 5).count(), 3u);
  EXPECT_EQ(FirstSteps(Config(3)), (std::set<uint32_t>{0, 1, 2}));
  EXPECT_EQ(FirstSteps(Config(3, 4)), (std::set<uint32_t>{0, 1}));
}

TEST(FlowGrpoTest, AGroupKeepsItsWindowWhoeverMakesIt) {
  EXPECT_EQ(StepsOf(*Make(Config(3)), 5).SerializeAsString(), StepsOf(*Make(Config(3)), 5).SerializeAsString());
  v1::RunConfig other = Config(3);
  other.set_seed(4);
  std::set<bool> same;
  for (uint64_t group = 0; group < 30; ++group)
    same.insert(StepsOf(*Make(other), group).first() == StepsOf(*Make(Config(3)), group).first());
  EXPECT_TRUE(same.contains(false));
}

TEST(FlowGrpoTest, RefusesAWindowThatFitsNowhere) {
  const auto error_of = [](const v1::RunConfig& config) {
    const auto made = MakeAlgorithm(config, kSigmas);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << made.status();
    return std::string(made.status().message());
  };
  EXPECT_THAT(error_of(Config(6)), HasSubstr("algorithm.flow_grpo.window: 6 steps do not fit before step 5"));
  EXPECT_THAT(error_of(Config(3, 11)), HasSubstr("algorithm.flow_grpo.window_end: 11 is beyond the 10 steps"));
  EXPECT_THAT(error_of(Config(3, 10, v1::CPS)),
              HasSubstr("algorithm.flow_grpo.window_end: must be less than the 10 steps"));
  v1::RunConfig one_step = Config(0);
  one_step.mutable_sampler()->set_steps(1);
  EXPECT_THAT(error_of(one_step), HasSubstr("sampler.steps"));
}

TEST(FlowGrpoTest, NeedsTheVelocitiesThatItsOptionsAskFor) {
  v1::RunConfig config = Config(3);
  config.mutable_sampler()->set_guidance_scale(4.5);
  EXPECT_EQ(Make(config)->needs().guidance, 4.5);
  EXPECT_TRUE(Make(config)->needs().reference);
  EXPECT_EQ(Make(config)->needs().max_log_prob_drift, 0.01);
  config.mutable_sampler()->clear_guidance_scale();
  config.mutable_algorithm()->mutable_flow_grpo()->set_kl_beta(0);
  EXPECT_EQ(Make(config)->needs().guidance, 1);
  EXPECT_FALSE(Make(config)->needs().reference);
}

class FlowGrpoRowsTest : public testing::Test {
 protected:
  FlowGrpoRowsTest() {
    group_.x0 = InitialNoise(1, 0, 0, {4, 2, 3, 5});
    group_.states = InitialNoise(2, 0, 0, {4, 4, 2, 3, 5});
    group_.log_probs = InitialNoise(3, 0, 0, {4, 3});
    *group_.lease.mutable_stochastic() = StepsOf(*method_, 5);
    group_.lease.mutable_stochastic()->set_first(2);
  }

  Rows RowsOf(const std::vector<int64_t>& samples, int64_t begin, int64_t end) const {
    return method_->MakeRows({.group = &group_,
                              .samples = &samples,
                              .begin = begin,
                              .end = end,
                              .signals = at::tensor({0.f, 1.f, 2.f, 3.f})});
  }

  const std::unique_ptr<const Algorithm> method_ = Make(Config(3));
  Group group_;
};

TEST_F(FlowGrpoRowsTest, RowsAreTheStepsOfTheGroupsWindow) {
  const Rows rows = RowsOf({1, 3}, 0, 6);
  ASSERT_EQ(method_->rows_per_sample(), 3);
  for (int64_t row = 0; row < 6; ++row) {
    const int64_t sample = row < 3 ? 1 : 3, step = row % 3;
    EXPECT_EQ(rows.step[row], 2 + step);
    EXPECT_EQ(rows.sigma[row].item<float>(), kSigmas[2 + step]);
    EXPECT_EQ(rows.sigma_next[row].item<float>(), kSigmas[3 + step]);
    EXPECT_EQ(rows.signal[row].item<float>(), static_cast<float>(sample));
    EXPECT_TRUE(at::equal(rows.x[row], group_.states[sample][step]));
    EXPECT_TRUE(at::equal(rows.next[row], group_.states[sample][step + 1]));
    EXPECT_EQ(rows.log_prob[row].item<float>(), group_.log_probs[sample][step].item<float>());
  }
}

TEST_F(FlowGrpoRowsTest, DriftIsHowFarLogProbabilitiesAreOff) {
  Rows rows = RowsOf({0, 1}, 0, 2);
  const at::Tensor velocity = InitialNoise(9, 0, 0, {2, 2, 3, 5});
  const SdeStep step = MakeSdeStep(v1::FLOW_SDE, 0.7, rows.sigma, rows.sigma_next);
  rows.log_prob = StepLogProb(step, rows.next, StepMean(step, rows.x, velocity)) + at::tensor({0.25f, -0.5f});
  EXPECT_TRUE(at::allclose(method_->LogProbDrift(rows, velocity), at::tensor({0.25f, 0.5f}), 1e-4, 1e-4));
}

TEST_F(FlowGrpoRowsTest, ARatioBeyondTheClipMovesNothingItsAdvantageAskedFor) {
  Rows rows = RowsOf({0, 1, 2, 3}, 0, 4);
  rows.signal = at::tensor({1.f, 1.f, -1.f, -1.f});
  Velocities velocities{.theta = InitialNoise(9, 0, 0, {4, 2, 3, 5}), .old = {}, .ref = {}};
  velocities.theta.requires_grad_();
  const SdeStep step = MakeSdeStep(v1::FLOW_SDE, 0.7, rows.sigma, rows.sigma_next);
  const at::Tensor now = StepLogProb(step, rows.next, StepMean(step, rows.x, velocities.theta)).detach();
  rows.log_prob = now - at::tensor({0.1f, -0.1f, 0.1f, -0.1f});  // ratios above, below, above, below
  method_->Loss(rows, velocities).loss.sum().backward();
  const at::Tensor moves = (velocities.theta.grad().abs().flatten(1).sum(1) > 0).to(at::kInt);
  EXPECT_TRUE(at::equal(moves, at::tensor({0, 1, 1, 0})));
}

}  // namespace
}  // namespace flowawr
