#include "reward_server/scorers/mended_text.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

// Each as open_clip 3.3.0 with ftfy 6.3.1 gives it: html.unescape(html.unescape(ftfy.fix_text(text))).
TEST(MendedTextTest, EqualsOpenClipsBasicClean) {
  const struct {
    const char* text;
    const char* mended;
  } cases[] = {
      {"plain cat, José 日本 🐈", "plain cat, José 日本 🐈"},
      {"astronaut’s “NASA 2049”", "astronaut's \"NASA 2049\""},
      {"cat &amp; dog", "cat & dog"},
      {"&amp;lt;b&amp;gt;", "<b>"},
      {"<b> &#8220;cat&#8221;", "<b> “cat”"},
      {"&#8220;cat&#8221; &#x27;x&#39;", "\"cat\" 'x'"},
      {"ﬁne ﬂow oﬃce", "fine flow office"},
      {"ＣＡＴ\u3000ｶﾀｶﾅ", "CAT カタカナ"},
      {"Ĳsland ŉ ǆ", "IJsland 'n dž"},
      {"a\x07"
       "b\ufeff"
       "c",
       "abc"},
      {"R&D & more; &unknown; &#0; &#xd800; &nbsp;x", "R&D & more; &unknown; \ufffd \ufffd \u00a0x"},
      {"&amp;amp;amp;amp;", "&"},
      {"＆ａｍｐ；", "&"},
      {"", ""},
  };
  for (const auto& [text, mended] : cases) EXPECT_EQ(MendedText(text), mended);
}

TEST(MendedTextTest, TakesLongTextsInTimeThatIsBounded) {
  std::string text = "&";
  while (text.size() < 65536) text += "amp;";
  EXPECT_LT(MendedText(text).size(), text.size());
}

}  // namespace
}  // namespace flowawr
