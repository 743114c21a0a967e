#include "learner/picture_history.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using testing::ElementsAre;

TEST(PictureHistory, NamesFoldersSoThatTheySort) {
  EXPECT_EQ(PictureHistoryFolder(10), "update-000010");
  EXPECT_EQ(UpdateOfPictureFolder("update-000010"), 10);
  EXPECT_EQ(UpdateOfPictureFolder("update-12345678"), 12345678);
  for (const char* name : {"latest", "update-", "update-10", "update-00001x", "update--00001", "update-000010 "})
    EXPECT_EQ(UpdateOfPictureFolder(name), std::nullopt) << name;
}

TEST(UpdateToForget, KeepsAllWhileTheyAreFew) {
  EXPECT_EQ(UpdateToForget({10, 20, 30}, 3), std::nullopt);
  EXPECT_EQ(UpdateToForget({10, 20}, 1), std::nullopt) << "the first and the last stay";
}

TEST(UpdateToForget, LeavesTheRestSpreadOverTheWholeRun) {
  EXPECT_EQ(UpdateToForget({10, 20, 25, 30}, 3), 25);
  std::set<uint64_t> kept;
  for (uint64_t update = 10; update <= 2000; update += 10) {
    kept.insert(update);
    while (const std::optional<uint64_t> forgotten = UpdateToForget(kept, 8)) kept.erase(*forgotten);
  }
  EXPECT_EQ(kept.size(), 8);
  EXPECT_EQ(*kept.begin(), 10);
  EXPECT_EQ(*kept.rbegin(), 2000);
  uint64_t before = 0, widest = 0;
  for (const uint64_t update : kept) widest = std::max(widest, update - before), before = update;
  EXPECT_LE(widest, 800);
}

}  // namespace
}  // namespace flowawr
