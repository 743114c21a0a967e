#include "learner/batch_assembler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

namespace flowawr {
namespace {

using Ids = std::vector<uint64_t>;

Group GroupOf(uint64_t id, uint64_t policy_version = 1, uint64_t reward_spec = 1) {
  Group group;
  group.lease.set_group_id(id);
  group.lease.set_policy_version(policy_version);
  group.lease.mutable_reward_spec()->set_version(reward_spec);
  return group;
}

Ids IdsOf(const std::vector<Group>& groups) {
  Ids ids;
  for (const Group& group : groups) ids.push_back(group.id());
  return ids;
}

// The ids of the next batch; empty while it is not complete.
Ids TakeIds(BatchAssembler& assembler) {
  const std::optional<std::vector<Group>> batch = assembler.Take();
  return batch ? IdsOf(*batch) : Ids{};
}

TEST(StrictBatchAssemblerTest, MakesTheSameBatchesInIdOrderWhateverTheOrderOfArrival) {
  Ids arrival = {10, 11, 12, 13};
  do {
    BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 0}, 10);
    for (const uint64_t id : arrival) assembler.Add(GroupOf(id));
    ASSERT_EQ(TakeIds(assembler), (Ids{10, 11}));
    ASSERT_EQ(TakeIds(assembler), (Ids{12, 13}));
    ASSERT_EQ(TakeIds(assembler), Ids{});
    ASSERT_EQ(assembler.next_group(), 14u);
    ASSERT_TRUE(assembler.consumed_above().empty());
  } while (std::next_permutation(arrival.begin(), arrival.end()));
}

TEST(StrictBatchAssemblerTest, WaitsForTheMissingGroupHoweverManyLaterOnesAreIn) {
  BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 0}, 0);
  for (const uint64_t id : {1, 2, 3}) assembler.Add(GroupOf(id));
  EXPECT_EQ(assembler.ready(), 1);
  EXPECT_EQ(TakeIds(assembler), Ids{});
  EXPECT_FALSE(assembler.IsConsumed(1));
  assembler.Add(GroupOf(0));
  EXPECT_EQ(assembler.ready(), 2);
  EXPECT_EQ(TakeIds(assembler), (Ids{0, 1}));
  EXPECT_TRUE(assembler.IsConsumed(1));
  EXPECT_FALSE(assembler.IsConsumed(2));
}

TEST(BatchAssemblerTest, TakesTheFirstToArriveWhenStalenessIsAllowedAndOrdersThemById) {
  BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 1}, 0);
  for (const uint64_t id : {5, 2, 0}) assembler.Add(GroupOf(id));
  EXPECT_EQ(TakeIds(assembler), (Ids{2, 5}));
  EXPECT_EQ(assembler.ready(), 1);
  EXPECT_EQ(assembler.next_group(), 0u);
  EXPECT_EQ(assembler.consumed_above(), (std::set<uint64_t>{2, 5}));
  EXPECT_TRUE(assembler.IsConsumed(5));
  EXPECT_FALSE(assembler.IsConsumed(4));
}

TEST(BatchAssemblerTest, TheGapClosesOnceTheGroupsBelowAreConsumed) {
  BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 1}, 0, {2, 5});
  EXPECT_TRUE(assembler.IsConsumed(2));
  for (const uint64_t id : {1, 0}) assembler.Add(GroupOf(id));
  EXPECT_EQ(TakeIds(assembler), (Ids{0, 1}));
  EXPECT_EQ(assembler.next_group(), 3u);
  EXPECT_EQ(assembler.consumed_above(), (std::set<uint64_t>{5}));
}

TEST(BatchAssemblerTest, ReturnsStaleGroupsAndKeepsTheOthersInTheirOrder) {
  BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 1}, 0);
  assembler.Add(GroupOf(0, 3));
  assembler.Add(GroupOf(3, 5));
  assembler.Add(GroupOf(1, 4));
  assembler.Add(GroupOf(2, 5));
  EXPECT_EQ(IdsOf(assembler.TakeStale(5)), (Ids{0, 1}));
  EXPECT_TRUE(assembler.TakeStale(5).empty());
  EXPECT_FALSE(assembler.IsConsumed(0));
  EXPECT_EQ(TakeIds(assembler), (Ids{2, 3}));

  assembler.Add(GroupOf(0, 6));  // leased anew
  assembler.Add(GroupOf(1, 6));
  EXPECT_EQ(TakeIds(assembler), (Ids{0, 1}));
}

TEST(BatchAssemblerTest, NeverMixesRewardSpecsAndServesTheOlderFirst) {
  BatchAssembler assembler({.groups_per_batch = 2, .max_staleness = 2}, 0);
  assembler.Add(GroupOf(2, 1, 8));
  assembler.Add(GroupOf(0, 1, 7));
  EXPECT_EQ(assembler.ready(), 1);
  EXPECT_EQ(TakeIds(assembler), Ids{});  // two are in, of two specs
  assembler.Add(GroupOf(3, 1, 8));
  EXPECT_EQ(TakeIds(assembler), Ids{});
  assembler.Add(GroupOf(1, 1, 7));
  EXPECT_EQ(TakeIds(assembler), (Ids{0, 1}));
  EXPECT_EQ(TakeIds(assembler), (Ids{2, 3}));
}

}  // namespace
}  // namespace flowawr
