#include "cli/reward_trend.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using testing::ElementsAre;

TEST(Sparkline, GoesFromTheLowestToTheHighest) {
  EXPECT_EQ(Sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline({0, 0, 7, 7}, 2), "▁█");  // means
  EXPECT_EQ(Sparkline({3, 3, 3}, 8), "▅▅▅");
  EXPECT_EQ(Sparkline({}, 8), "");
}

TEST(DirectionOf, TellsAChangeFromNoise) {
  EXPECT_EQ(DirectionOf({0.1, 0.2, 0.1, 0.2, 0.5, 0.6, 0.5, 0.6}), Direction::kUp);
  EXPECT_EQ(DirectionOf({0.5, 0.6, 0.5, 0.6, 0.1, 0.2, 0.1, 0.2}), Direction::kDown);
  EXPECT_EQ(DirectionOf({0.1, 0.6, 0.2, 0.5, 0.1, 0.6, 0.2, 0.55}), Direction::kLevel);
  EXPECT_EQ(DirectionOf({0.1, 0.2, 0.3}), std::nullopt);
}

TEST(RewardTrend, KeepsTheNewestOfOneReward) {
  RewardTrend trend;
  trend.Add(1, 0.5, 1);
  trend.Add(2, NAN, 1);
  trend.Add(3, 0.75, 1);
  trend.Add(3, 0.9, 1);  // told again
  EXPECT_THAT(trend.values(), ElementsAre(0.5, 0.75));
  trend.Add(4, 12, 2);  // other rewards are other quantities
  EXPECT_THAT(trend.values(), ElementsAre(12));
  for (int update = 5; update < 1000; ++update) trend.Add(update, update, 2);
  EXPECT_EQ(trend.values().size(), 200);
  EXPECT_EQ(trend.first_update(), 800);
}

}  // namespace
}  // namespace flowawr
