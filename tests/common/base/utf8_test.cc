#include "common/base/utf8.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(FindInvalidUtf8, AcceptsTextOfAllLengths) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x90\x88"), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("a true \xEF\xBF\xBD"), std::nullopt);
}

TEST(FindInvalidUtf8, FindsLatin1OverlongSurrogateAndCutSequences) {
  EXPECT_EQ(FindInvalidUtf8("caf\xE9 au lait"), 3u);
  EXPECT_EQ(FindInvalidUtf8("\xC0\xAF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("a\xED\xA0\x80"), 1u);
  EXPECT_EQ(FindInvalidUtf8("ab\xE2\x82"), 2u);
  EXPECT_FALSE(IsValidUtf8("ab\xE2\x82"));
}

TEST(SanitizeUtf8, ReplacesWhatIsMalformedAndKeepsTheRest) {
  EXPECT_EQ(SanitizeUtf8("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(SanitizeUtf8("caf\xE9 au \xE2\x82"), "caf\xEF\xBF\xBD au \xEF\xBF\xBD");
  EXPECT_EQ(SanitizeUtf8(absl::string_view("a\0b", 3)), std::string("a\0b", 3));
}

TEST(TruncateUtf8, KeepsWhatFits) {
  EXPECT_EQ(TruncateUtf8("", 0), "");
  EXPECT_EQ(TruncateUtf8("caf\xC3\xA9", 5), "caf\xC3\xA9");
}

TEST(TruncateUtf8, MarksTheCutWithinTheBound) {
  EXPECT_EQ(TruncateUtf8("abcdefgh", 6), "abc...");
  EXPECT_EQ(TruncateUtf8("abcdefgh", 3), "...");
  EXPECT_EQ(TruncateUtf8("abcdefgh", 2), "ab");
}

TEST(TruncateUtf8, NeverCutsACharacterWhateverTheBoundAndTheBytes) {
  const std::string texts[] = {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x88z\xE4\xB8\xAD\xC3\xA9",
                               "\xE9\xE9\xF0\x9F\x90 \xFF\xC3\xA9\xE2\x82"};
  for (const std::string& text : texts) {
    for (size_t bound = 0; bound < 30; ++bound) {
      const std::string cut = TruncateUtf8(text, bound);
      EXPECT_LE(cut.size(), bound);
      EXPECT_TRUE(IsValidUtf8(cut)) << bound;
    }
  }
}

}  // namespace
}  // namespace flowawr
