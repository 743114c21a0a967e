#include "cli/caption.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace flowawr {
namespace {

TEST(PrintableAsciiTest, TellsTextOfAnyScriptToReadersOfLatinLetters) {
  struct Case {
    const char* text;
    const char* expected;
  };
  for (const Case& c : {
           Case{"a sign that says \"CAT\"", "a sign that says \"CAT\""},
           Case{"", ""},
           Case{"gr\u00f6\u00dfe, caf\u00e9, cafe\u0301", "grosse, cafe, cafe"},
           Case{"\u201cCAT\u201d \u2014 it\u2019s \u2026", "\"CAT\" - it's ..."},
           Case{"\u043a\u043e\u0442", "kot"},
           Case{"\u732b", "mao"},
           Case{"one\nline\tof  words \r\n", "one line of words"},
           Case{"a \U0001F600 face", "a ? face"},
           Case{"bad \xff byte", "bad ? byte"},
           Case{"\x1b[31mred", "?[31mred"},
       })
    EXPECT_EQ(PrintableAscii(c.text), c.expected) << c.text;
}

TEST(PrintableAsciiTest, TakesTheBeginningOfALongText) {
  std::string text(1 << 20, 'x');
  text[0] = 'a';
  const std::string line = PrintableAscii(text);
  EXPECT_EQ(line.substr(0, 3), "axx");
  EXPECT_LT(line.size(), 10000u);
}

bool HasInk(const Image& strip, int top, int bottom, int left, int right) {
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x)
      if (static_cast<uint8_t>(strip.rgb[size_t{3} * (size_t(y) * strip.width + x)]) < 160) return true;
  return false;
}

int RightmostInk(const Image& strip) {
  int right = strip.width - 1;
  while (right >= 0 && !HasInk(strip, 0, strip.height, right, right + 1)) --right;
  return right;
}

Image Draw(int width, const Caption& caption, bool has_note = false) {
  const auto font = CaptionFont::Load(width);
  EXPECT_TRUE(font.ok()) << font.status();
  const Image strip = font->Draw(caption, has_note);
  EXPECT_TRUE(ValidateImage(strip).ok());
  EXPECT_EQ(strip.width, width);
  EXPECT_EQ(strip.height, CaptionFont::HeightFor(width, has_note));
  return strip;
}

TEST(CaptionFontTest, DrawsLettersFromTheLeftEdge) {
  const Image strip = Draw(192, {"a cat", ""});
  EXPECT_TRUE(HasInk(strip, 0, strip.height, 0, 20));
  EXPECT_FALSE(HasInk(strip, 0, strip.height, 60, 192));
  EXPECT_NE(strip.rgb, Draw(192, {"a cap", ""}).rgb);
  EXPECT_EQ(RightmostInk(Draw(192, {"", ""})), -1);
}

TEST(CaptionFontTest, DrawsEveryPrintableCharacter) {
  const std::string blank = Draw(192, {"", ""}).rgb;
  for (char letter = '!'; letter <= '~'; ++letter)
    EXPECT_NE(Draw(192, {std::string(1, letter), ""}).rgb, blank) << letter;
}

TEST(CaptionFontTest, CutsALongTextWithDots) {
  for (const int width : {160, 512, 2048}) {
    const std::string text(1000, 'H');
    const Image strip = Draw(width, {text, ""});
    EXPECT_EQ(strip.rgb, Draw(width, {text + "another end", ""}).rgb);
    const int right = RightmostInk(strip);
    EXPECT_GT(right, width - 40);
    EXPECT_LT(right, width);
    // Dots stand on the line: above them is nothing.
    EXPECT_FALSE(HasInk(strip, 0, strip.height / 2, right - 3, right + 1)) << width;
    EXPECT_TRUE(HasInk(strip, strip.height / 2, strip.height, right - 3, right + 1)) << width;
  }
}

TEST(CaptionFontTest, PutsTheNoteUnderTheText) {
  const Image noted = Draw(192, {"a cat", "image 1"}, /*has_note=*/true);
  const int one_line = CaptionFont::HeightFor(192, false);
  EXPECT_GT(noted.height, one_line);
  EXPECT_TRUE(HasInk(noted, one_line, noted.height, 0, 192));
  EXPECT_FALSE(HasInk(Draw(192, {"a cat", ""}, /*has_note=*/true), one_line, noted.height, 0, 192));
}

}  // namespace
}  // namespace flowawr
