#include "learner/ranks/split_chunks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace flowawr {
namespace {

GradientPlan PlanOf(size_t chunks, size_t idle_every = 0) {
  GradientPlan plan;
  for (size_t i = 0; i < chunks; ++i)
    plan.chunks.push_back({.group = i, .end = 1, .is_idle = idle_every > 0 && i % idle_every == 0});
  return plan;
}

int64_t Work(const GradientPlan& plan, ChunkRange range) {
  return std::count_if(plan.chunks.begin() + static_cast<int64_t>(range.begin),
                       plan.chunks.begin() + static_cast<int64_t>(range.end),
                       [](const Chunk& chunk) { return !chunk.is_idle; });
}

TEST(SplitChunks, PartsFollowOneAnotherAndAreAboutEqual) {
  for (const size_t chunks : {1, 2, 3, 7, 16, 100, 648, 1001}) {
    for (const size_t idle_every : {0, 3}) {
      const GradientPlan plan = PlanOf(chunks, idle_every);
      const int64_t all = Work(plan, {0, chunks});
      for (size_t parts = 1; parts <= 8; ++parts) {
        const auto ranges = SplitChunks(plan, {0, chunks}, parts);
        ASSERT_FALSE(ranges.empty());
        EXPECT_EQ(ranges.front().begin, 0);
        EXPECT_EQ(ranges.back().end, chunks);
        for (size_t i = 1; i < ranges.size(); ++i) EXPECT_EQ(ranges[i].begin, ranges[i - 1].end);
        if (all < static_cast<int64_t>(16 * parts)) continue;
        ASSERT_EQ(ranges.size(), parts);
        const double wanted = static_cast<double>(all) / static_cast<double>(parts);
        for (const ChunkRange& range : ranges)
          EXPECT_NEAR(static_cast<double>(Work(plan, range)), wanted, wanted / 4) << chunks << " in " << parts;
      }
    }
  }
}

TEST(SplitChunks, PowersOfTwoAreOneNodeEach) {
  EXPECT_THAT(SplitChunks(PlanOf(101), {0, 101}, 2), testing::ElementsAre(ChunkRange{0, 51}, ChunkRange{51, 101}));
}

TEST(SplitChunks, APartOfAnotherRangeStaysInIt) {
  const auto ranges = SplitChunks(PlanOf(100), {25, 50}, 3);
  ASSERT_EQ(ranges.size(), 3);
  EXPECT_EQ(ranges.front().begin, 25);
  EXPECT_EQ(ranges.back().end, 50);
}

TEST(SplitChunks, ThereAreNoMorePartsThanWork) {
  EXPECT_EQ(SplitChunks(PlanOf(3), {0, 3}, 8).size(), 3);
  EXPECT_EQ(SplitChunks(PlanOf(3, 1), {0, 3}, 2).size(), 1);  // all idle
}

}  // namespace
}  // namespace flowawr
