#include "common/config/utf8.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(FindInvalidUtf8, AcceptsTextOfAllLengths) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x90\x88"), std::nullopt);
}

TEST(FindInvalidUtf8, FindsLatin1OverlongSurrogateAndCutSequences) {
  EXPECT_EQ(FindInvalidUtf8("caf\xE9 au lait"), 3u);
  EXPECT_EQ(FindInvalidUtf8("\xC0\xAF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("a\xED\xA0\x80"), 1u);
  EXPECT_EQ(FindInvalidUtf8("ab\xE2\x82"), 2u);
}

}  // namespace
}  // namespace flowawr
