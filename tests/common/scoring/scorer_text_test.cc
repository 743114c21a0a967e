#include "common/scoring/scorer_text.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(ParseScorer, TakesTheNameAsKindWhenThereIsNone) {
  const auto scorer = ParseScorer("ocr");
  ASSERT_TRUE(scorer.ok());
  EXPECT_EQ(scorer->name(), "ocr");
  EXPECT_EQ(scorer->kind(), "ocr");
}

TEST(ParseScorer, TakesKindAndOptions) {
  const auto scorer = ParseScorer("small=jpeg_compressibility,scale=5,pad=a=b");
  ASSERT_TRUE(scorer.ok());
  EXPECT_EQ(scorer->name(), "small");
  EXPECT_EQ(scorer->kind(), "jpeg_compressibility");
  EXPECT_EQ(scorer->options().at("scale"), "5");
  EXPECT_EQ(scorer->options().at("pad"), "a=b");
}

TEST(ParseScorer, TakesCommasThatHaveABackslashBeforeThem) {
  const auto scorer = ParseScorer(R"(ocr,tessdata=/a\,b/c\\d\e,layout=word)");
  ASSERT_TRUE(scorer.ok()) << scorer.status();
  EXPECT_EQ(scorer->options().at("tessdata"), R"(/a,b/c\d\e)");
  EXPECT_EQ(scorer->options().at("layout"), "word");
}

TEST(FormatScorer, IsReadAsWhatItWasMadeOf) {
  v1::LoadScorerRequest scorer;
  scorer.set_name("read");
  scorer.set_kind("ocr");
  (*scorer.mutable_options())["tessdata"] = R"(/odd, folder\,=/)";
  (*scorer.mutable_options())["margin"] = "1";
  const auto again = ParseScorer(FormatScorer(scorer));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name(), "read");
  EXPECT_EQ(again->kind(), "ocr");
  EXPECT_EQ(again->options().at("tessdata"), scorer.options().at("tessdata"));
  EXPECT_EQ(again->options().size(), 2u);
}

TEST(ParseScorer, RefusesWhatIsMalformed) {
  for (const char* text : {"", "=ocr", "ocr=", "ocr,", "ocr,margin", "ocr,=1", "ocr,margin=", "ocr,margin=1,margin=2"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseScorer(text).status())) << text;
}

}  // namespace
}  // namespace flowawr
