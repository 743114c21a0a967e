#include "learner/schedules.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <utility>

#include "common/tensor/safetensors.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(LearningRateTest, FollowsTransformersSchedules) {
  constexpr int kTotal = 37;
  const TempFolder folder;
  ASSERT_TRUE(
      WriteSafetensors(folder / "schedule", {{"unused", at::zeros({1})}}, {{"config", R"({"lr": 0.25, "total": 37})"}})
          .ok());
  ASSERT_TRUE(RunPython("tests/learner/algorithm_reference.py", {"schedule", folder / "schedule"}));
  const auto file = SafetensorsFile::Open(folder / "schedule.out");
  ASSERT_TRUE(file.ok()) << file.status();
  v1::OptimizerConfig config;
  config.set_learning_rate(0.25);
  for (const auto& [schedule, name] :
       {std::pair{v1::CONSTANT, "constant"}, {v1::LINEAR, "linear"}, {v1::COSINE, "cosine"}}) {
    config.set_schedule(schedule);
    for (int done = 0; done < kTotal; ++done)
      EXPECT_NEAR(LearningRate(config, done, kTotal), file->tensors().at(name)[done].item<double>(), 1e-15)
          << name << " after " << done;
  }
}

TEST(LearningRateTest, StaysAtZeroBeyondTheEnd) {
  v1::OptimizerConfig config;
  config.set_learning_rate(1);
  for (const auto schedule : {v1::LINEAR, v1::COSINE}) {
    config.set_schedule(schedule);
    EXPECT_EQ(LearningRate(config, 10, 10), 0);
    EXPECT_EQ(LearningRate(config, 11, 10), 0);
  }
}

double DecayOf(v1::BehaviourSchedule schedule, uint64_t steps, double fixed = 0.5) {
  v1::AlgorithmConfig algorithm;
  algorithm.set_behaviour(schedule);
  algorithm.set_behaviour_decay(fixed);
  return BehaviourDecay(algorithm, steps);
}

TEST(BehaviourDecayTest, CurrentFollowsAtOnce) {
  for (const uint64_t step : {0, 1, 1000}) EXPECT_EQ(DecayOf(v1::CURRENT, step), 0);
}

TEST(BehaviourDecayTest, RampRisesToOneHalf) {
  EXPECT_EQ(DecayOf(v1::RAMP, 0), 0);
  EXPECT_DOUBLE_EQ(DecayOf(v1::RAMP, 1), 0.001);
  EXPECT_DOUBLE_EQ(DecayOf(v1::RAMP, 499), 0.499);
  EXPECT_EQ(DecayOf(v1::RAMP, 500), 0.5);
  EXPECT_EQ(DecayOf(v1::RAMP, 1'000'000), 0.5);
}

TEST(BehaviourDecayTest, LateStartsAtStep75AndStopsShortOfOne) {
  EXPECT_EQ(DecayOf(v1::LATE, 0), 0);
  EXPECT_EQ(DecayOf(v1::LATE, 75), 0);
  EXPECT_DOUBLE_EQ(DecayOf(v1::LATE, 76), 0.0075);
  EXPECT_DOUBLE_EQ(DecayOf(v1::LATE, 175), 0.75);
  EXPECT_DOUBLE_EQ(DecayOf(v1::LATE, 208), 0.9975);
  EXPECT_EQ(DecayOf(v1::LATE, 209), 0.999);
  EXPECT_EQ(DecayOf(v1::LATE, UINT64_MAX), 0.999);
}

TEST(BehaviourDecayTest, FixedIsWhatTheConfigurationSays) {
  for (const uint64_t steps : {0, 1, 1000}) EXPECT_EQ(DecayOf(v1::FIXED, steps, 0.9), 0.9);
}

TEST(AverageDecayTest, RisesFromATenthToTheCap) {
  EXPECT_DOUBLE_EQ(AverageDecay(0, 0.9), 0.1);
  EXPECT_DOUBLE_EQ(AverageDecay(1, 0.9), 2.0 / 11);
  EXPECT_DOUBLE_EQ(AverageDecay(79, 0.9), 80.0 / 89);
  EXPECT_EQ(AverageDecay(80, 0.9), 0.9);
  EXPECT_EQ(AverageDecay(1000, 0.9), 0.9);
  EXPECT_EQ(AverageDecay(1000, 0), 0);
}

}  // namespace
}  // namespace flowawr
