#include "learner/checkpoint_retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace flowawr {
namespace {

using Updates = std::vector<uint64_t>;

TEST(CheckpointsToRemoveTest, FollowsTheTable) {
  const std::map<uint64_t, double> none, early = {{10, .9}, {20, .5}, {30, .4}, {40, .3}};
  const struct {
    const char* name;
    Updates updates;
    std::map<uint64_t, double> heldout;
    Retention retention;
    Updates removed;
  } cases[] = {
      {"the newest stay", {10, 20, 30, 40}, none, {2, 0}, {10, 20}},
      {"in whatever order they are named", {30, 10, 40, 20}, none, {2, 0}, {10, 20}},
      {"one at least", {10, 20}, none, {0, 0}, {10}},
      {"fewer than may stay", {10}, none, {3, 1}, {}},
      {"there is none", {}, none, {3, 1}, {}},
      {"the best stays beside the newest", {10, 20, 30, 40}, early, {2, 1}, {20}},
      {"as do several", {10, 20, 30, 40}, early, {1, 2}, {30}},
      {"the best is one of the newest", {10, 20, 30, 40}, {{10, .1}, {40, .9}}, {2, 1}, {10, 20}},
      {"only an evaluation of its own update counts", {10, 20, 30}, {{15, 9}, {20, .1}}, {1, 1}, {10}},
      {"without evaluations none is the best", {10, 20, 30}, none, {1, 5}, {10, 20}},
      {"of equal rewards the newer", {10, 20, 30}, {{10, .5}, {20, .5}}, {1, 1}, {10}},
      {"less is worse below 0, too", {10, 20, 30}, {{10, -.5}, {20, -.7}}, {1, 1}, {20}},
      {"no number is no reward", {10, 20, 30}, {{10, std::numeric_limits<double>::quiet_NaN()}, {20, 0}}, {1, 1}, {10}},
  };
  for (const auto& c : cases) EXPECT_EQ(CheckpointsToRemove(c.updates, c.heldout, c.retention), c.removed) << c.name;
}

}  // namespace
}  // namespace flowawr
