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

TEST(ParseScorer, RefusesWhatIsMalformed) {
  for (const char* text : {"", "=ocr", "ocr=", "ocr,", "ocr,margin", "ocr,=1", "ocr,margin=", "ocr,margin=1,margin=2"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseScorer(text).status())) << text;
}

}  // namespace
}  // namespace flowawr
