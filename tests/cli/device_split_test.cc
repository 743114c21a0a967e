#include "cli/device_split.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(DeviceSplitTest, FollowsTheTable) {
  const struct {
    const char* name;
    DeviceNeeds needs;
    int devices;
    int64_t memory;
    DeviceSplit expected;
  } cases[] = {
      {"one device holds all", {30, 40, 5, 1, 3, true}, 1, 80, {{0}, {0}, 0, true}},
      {"one device is too small", {30, 40, 15, 1, 3, false}, 1, 80, {{0}, {0}, 0, false}},
      {"in turns, each side gets all", {30, 40, 5, 1, 3, true}, 4, 80, {{0, 1, 2, 3}, {0, 1, 2, 3}, 3, true}},
      {"in turns without room for both, by square roots", {50, 40, 5, 9, 1, true}, 8, 80,
       {{0, 1, 2, 3, 4, 5}, {6, 7}, 7, true}},
      {"ahead of each other, by the work", {30, 40, 5, 1, 3, false}, 8, 80, {{0, 1}, {2, 3, 4, 5, 6, 7}, 7, true}},
      {"each side gets one at least", {30, 40, 5, 1, 1000, false}, 2, 80, {{0}, {1}, 1, true}},
      {"scorers move to the actors", {30, 70, 20, 1, 1, false}, 2, 80, {{0}, {1}, 0, true}},
      {"nowhere is room for scorers", {70, 70, 20, 1, 1, false}, 2, 80, {{0}, {1}, 1, false}},
      {"the learner fits nowhere", {30, 90, 0, 1, 1, false}, 2, 80, {{0}, {1}, 0, false}},
  };
  for (const auto& c : cases) EXPECT_EQ(SplitDevices(c.needs, c.devices, c.memory), c.expected) << c.name;
}

}  // namespace
}  // namespace flowawr
