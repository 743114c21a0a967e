#include "learner/schedules.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

TEST(BehaviourDecayTest, CurrentFollowsAtOnce) {
  for (const uint64_t step : {0, 1, 1000}) EXPECT_EQ(BehaviourDecay(v1::CURRENT, step), 0);
}

TEST(BehaviourDecayTest, RampRisesToOneHalf) {
  EXPECT_EQ(BehaviourDecay(v1::RAMP, 0), 0);
  EXPECT_DOUBLE_EQ(BehaviourDecay(v1::RAMP, 1), 0.001);
  EXPECT_DOUBLE_EQ(BehaviourDecay(v1::RAMP, 499), 0.499);
  EXPECT_EQ(BehaviourDecay(v1::RAMP, 500), 0.5);
  EXPECT_EQ(BehaviourDecay(v1::RAMP, 1'000'000), 0.5);
}

TEST(BehaviourDecayTest, LateStartsAtStep75AndStopsShortOfOne) {
  EXPECT_EQ(BehaviourDecay(v1::LATE, 0), 0);
  EXPECT_EQ(BehaviourDecay(v1::LATE, 75), 0);
  EXPECT_DOUBLE_EQ(BehaviourDecay(v1::LATE, 76), 0.0075);
  EXPECT_DOUBLE_EQ(BehaviourDecay(v1::LATE, 175), 0.75);
  EXPECT_DOUBLE_EQ(BehaviourDecay(v1::LATE, 208), 0.9975);
  EXPECT_EQ(BehaviourDecay(v1::LATE, 209), 0.999);
  EXPECT_EQ(BehaviourDecay(v1::LATE, UINT64_MAX), 0.999);
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
