#include "cli/reward/term_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) { return std::string(ParseTerm(text).status().message()); }

TEST(ParseTerm, FillsInDefaultsAndTakesEveryField) {
  const auto plain = ParseTerm("ocr");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->scorer(), "ocr");
  EXPECT_EQ(plain->weight(), 1);
  EXPECT_EQ(plain->timeout_s(), 60);
  EXPECT_TRUE(plain->is_required());
  EXPECT_EQ(plain->max_drop(), 0);
  const auto full = ParseTerm("size,weight=-0.25,endpoint=127.0.0.1:7,required=false,timeout=3,max_drop=.5");
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(full->weight(), -0.25);
  EXPECT_EQ(full->endpoint(), "127.0.0.1:7");
  EXPECT_FALSE(full->is_required());
  EXPECT_EQ(full->timeout_s(), 3);
  EXPECT_EQ(full->max_drop(), .5);
  for (const char* bad : {"", "weight=1", "ocr,weight=x", "ocr,weight=nan", "ocr,timeout=0", "ocr,endpoint=there",
                          "ocr,endpoint=", "ocr,required=perhaps", "ocr,colour=red"})
    EXPECT_THAT(ErrorOf(bad), HasSubstr("expected SCORER")) << bad;
}

TEST(ParseTerm, TakesSeveralServers) {
  const auto term = ParseTerm("ocr,endpoint=a:1,weight=2,endpoint=b:2");
  ASSERT_TRUE(term.ok()) << term.status();
  EXPECT_EQ(term->endpoint(), "a:1,b:2");
  EXPECT_THAT(ErrorOf("ocr,endpoint=a:1,endpoint=a:1"), HasSubstr("\"a:1\" is no endpoint"));
}

TEST(ParseTerm, SaysWhatIsWrongAndWhichWordWasMeant) {
  EXPECT_THAT(ErrorOf("ocr,wieght=1"), HasSubstr("there is no \"wieght\"; did you mean \"weight\"?"));
  EXPECT_THAT(ErrorOf("ocr,weight=heavy"),
              HasSubstr("\"heavy\" is no weight (a number from -1000 to 1000; 0: a shadow)"));
  for (const char* weight : {"nan", "inf", "-1001", "1e300"})
    EXPECT_THAT(ErrorOf(absl::StrCat("ocr,weight=", weight)), HasSubstr("a number from -1000 to 1000"));
  for (const char* timeout : {"nan", "inf", "-1", "0", "3601"})
    EXPECT_THAT(ErrorOf(absl::StrCat("ocr,timeout=", timeout)), HasSubstr("seconds, from 0.1 to 3600"));
  for (const char* drop : {"nan", "inf", "-1", "1000001", "much"})
    EXPECT_THAT(ErrorOf(absl::StrCat("ocr,max_drop=", drop)),
                HasSubstr("a number from 0 to 1000000; 0: any fall is fine"));
}

TEST(ParseWeight, TakesAScorerAndItsWeight) {
  const auto weight = ParseWeight("ocr=.5");
  ASSERT_TRUE(weight.ok()) << weight.status();
  EXPECT_EQ(weight->scorer(), "ocr");
  EXPECT_EQ(weight->weight(), 0.5);
  EXPECT_EQ(ParseWeight("a=b=-1")->scorer(), "a=b");
  for (const char* bad : {"", "ocr", "=1", "ocr=", "ocr=x", "ocr=nan", "ocr=1001"})
    EXPECT_THAT(std::string(ParseWeight(bad).status().message()), HasSubstr("expected SCORER=WEIGHT")) << bad;
}

}  // namespace
}  // namespace flowawr
