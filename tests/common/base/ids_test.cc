#include "common/base/ids.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(RandomId, IsHexOfTheLengthAskedForAndDoesNotRepeat) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(RandomId());
  EXPECT_EQ(ids.size(), 1000);
  EXPECT_THAT(ids, ::testing::Each(::testing::MatchesRegex("[0-9a-f]+")));
  EXPECT_EQ(RandomId(4).size(), 8);
}

}  // namespace
}  // namespace flowawr
