#include "learner/spec_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flowawr {
namespace {

using Ids = std::vector<uint64_t>;

// "s" scored, "g" granted, "w" waiting, each followed by the version of its spec; ids count from 10.
std::vector<OutstandingGroup> Groups(const std::string& text) {
  std::vector<OutstandingGroup> groups;
  for (size_t i = 0; i < text.size(); i += 2) {
    const auto state = text[i] == 's'   ? OutstandingGroup::State::kScored
                       : text[i] == 'g' ? OutstandingGroup::State::kGranted
                                        : OutstandingGroup::State::kWaiting;
    groups.push_back({10 + i / 2, static_cast<uint64_t>(text[i + 1] - '0'), state});
  }
  return groups;
}

TEST(GroupsToMoveTest, FollowsTheTable) {
  struct Case {
    const char* what;
    const char* groups;
    bool is_stuck;
    Ids moving;
  };
  for (const Case& test : std::vector<Case>{
           {"nothing outstanding", "", false, {}},
           {"nothing scored yet: all move, held or not", "g1w1w1", false, {10, 11, 12}},
           {"one scored: its batch is kept whole", "w1s1w1", false, {}},
           {"of two batches the second moves", "s1g1w1w1w1w1", false, {13, 14, 15}},
           {"those that are held fill the batch before those that wait", "w1w1s1g1g1w1", false, {10, 11, 15}},
           {"four scored are two batches", "s1s1s1s1w1w1w1", false, {16}},
           {"what has the new spec stays", "w2w2w2", false, {}},
           {"two old specs, each by itself", "s0w0w0w1w1w1", false, {13, 14, 15}},
           {"stuck: the scored ones, too", "s1s1w1", true, {10, 11, 12}},
           {"stuck: what has the new spec stays", "s1w2", true, {10}},
       })
    EXPECT_EQ(GroupsToMove(Groups(test.groups), /*groups_per_batch=*/3, /*newest_version=*/2, test.is_stuck),
              test.moving)
        << test.what;
}

}  // namespace
}  // namespace flowawr
