#include "cli/text_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

using testing::ElementsAre;

TEST(WrapTextTest, EndsLinesBetweenWordsAndIndentsThoseThatFollow) {
  EXPECT_THAT(WrapText("the reward server is gone", 12, 2), ElementsAre("the reward", "  server is", "  gone"));
  EXPECT_THAT(WrapText("fits", 12, 2), ElementsAre("fits"));
  EXPECT_THAT(WrapText("  kept margin", 40, 2), ElementsAre("  kept margin"));
  EXPECT_THAT(WrapText("", 12, 2), ElementsAre(""));
}

TEST(WrapTextTest, BreaksAWordThatIsLongerThanALineBetweenCharacters) {
  EXPECT_THAT(WrapText("abcdefghijklmnop", 10, 2), ElementsAre("abcdefghij", "  klmnop"));
  // Two bytes a character, and two columns a character.
  EXPECT_THAT(WrapText("éééééééééé", 8, 0), ElementsAre("éééééééé", "éé"));
  EXPECT_THAT(WrapText("日本語日本語", 8, 0), ElementsAre("日本語日", "本語"));
}

TEST(WrapTextTest, CountsColumnsAsATerminalDoes) {
  EXPECT_EQ(DisplayColumns("café"), 4);
  EXPECT_EQ(DisplayColumns("cafe\u0301"), 4);
  EXPECT_EQ(DisplayColumns("日本"), 4);
}

TEST(WrapTextTest, LetsNothingThroughThatATerminalObeysOrCannotRead) {
  const std::string text = absl::StrJoin(WrapText("a\x1b[2J\nb\xff\x7f\u009bz", 80, 0), "|");
  EXPECT_EQ(text, "a [2J b\uFFFD  z");
}

TEST(WrapTextTest, LosesNoWordWhateverTheWidth) {
  const std::string text = "no checkpoint could be written: /données/日本/update-000010: No space left. Then resume";
  for (int width = 8; width < 120; ++width) {
    std::string all;
    for (const std::string& line : WrapText(text, width, 4)) {
      EXPECT_LE(DisplayColumns(line), width);
      EXPECT_TRUE(IsValidUtf8(line));
      for (const char c : line)
        if (c != ' ') all += c;
    }
    std::string wanted;
    for (const char c : text)
      if (c != ' ') wanted += c;
    EXPECT_EQ(all, wanted);
  }
}

}  // namespace
}  // namespace flowawr
