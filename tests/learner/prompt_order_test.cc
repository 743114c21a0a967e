#include "learner/prompt_order.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace flowawr {
namespace {

constexpr uint64_t kPrompts = 50;

std::vector<uint64_t> Epoch(uint64_t run_seed, uint64_t epoch) {
  PromptOrder order(run_seed, kPrompts);
  std::vector<uint64_t> prompts;
  for (uint64_t i = 0; i < kPrompts; ++i) prompts.push_back(order.At(epoch * kPrompts + i));
  return prompts;
}

TEST(PromptOrderTest, EveryEpochVisitsEveryPromptOnce) {
  for (const uint64_t epoch : {0, 1, 1000}) {
    const std::vector<uint64_t> prompts = Epoch(7, epoch);
    const std::set<uint64_t> distinct(prompts.begin(), prompts.end());
    EXPECT_EQ(distinct.size(), kPrompts);
    EXPECT_EQ(*distinct.rbegin(), kPrompts - 1);
  }
}

TEST(PromptOrderTest, EpochsAndSeedsHaveOrdersOfTheirOwn) {
  EXPECT_NE(Epoch(7, 0), Epoch(7, 1));
  EXPECT_NE(Epoch(7, 0), Epoch(8, 0));
}

TEST(PromptOrderTest, DependsOnSeedAndGroupAloneNotOnWhatWasAskedBefore) {
  const std::vector<uint64_t> first = Epoch(7, 0), second = Epoch(7, 1);
  PromptOrder order(7, kPrompts);
  for (uint64_t i = kPrompts; i-- > 0;) {  // backwards, to and fro between the epochs
    EXPECT_EQ(order.At(kPrompts + i), second[i]);
    EXPECT_EQ(order.At(i), first[i]);
  }
}

TEST(PromptOrderTest, ASinglePromptIsAlwaysTheOne) {
  PromptOrder order(7, 1);
  for (const uint64_t group : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 62}) EXPECT_EQ(order.At(group), 0u);
}

}  // namespace
}  // namespace flowawr
