#include "cli/reward_commands.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(ParseTerm, FillsInDefaultsAndTakesEveryField) {
  const auto plain = ParseTerm("ocr");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->scorer(), "ocr");
  EXPECT_EQ(plain->weight(), 1);
  EXPECT_TRUE(plain->is_required());
  const auto full = ParseTerm("size,weight=-0.25,endpoint=127.0.0.1:7,required=false,timeout=3");
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(full->weight(), -0.25);
  EXPECT_EQ(full->endpoint(), "127.0.0.1:7");
  EXPECT_FALSE(full->is_required());
  EXPECT_EQ(full->timeout_s(), 3);
  for (const char* bad : {"", "weight=1", "ocr,weight=x", "ocr,weight=nan", "ocr,timeout=0", "ocr,endpoint=there",
                          "ocr,required=perhaps", "ocr,colour=red"}) {
    EXPECT_THAT(std::string(ParseTerm(bad).status().message()), HasSubstr("expected SCORER")) << bad;
  }
}

TEST(ParseTerm, SaysWhatIsWrongAndWhichWordWasMeant) {
  EXPECT_THAT(std::string(ParseTerm("ocr,wieght=1").status().message()),
              HasSubstr("there is no \"wieght\"; did you mean \"weight\"?"));
  EXPECT_THAT(std::string(ParseTerm("ocr,weight=heavy").status().message()),
              HasSubstr("\"heavy\" is no weight (a number from -1000 to 1000)"));
  for (const char* weight : {"nan", "inf", "-1001", "1e300"})
    EXPECT_THAT(std::string(ParseTerm(absl::StrCat("ocr,weight=", weight)).status().message()),
                HasSubstr("a number from -1000 to 1000"));
  for (const char* timeout : {"nan", "inf", "-1", "0", "3601"})
    EXPECT_THAT(std::string(ParseTerm(absl::StrCat("ocr,timeout=", timeout)).status().message()),
                HasSubstr("seconds, from 0.1 to 3600"));
}

TEST(FillInEndpoints, KeepsTheServerThatAScorerHasUnlessAnotherIsNamed) {
  v1::RewardSpec now;
  *now.add_terms() = ParseTerm("ocr,endpoint=127.0.0.1:7").value();
  *now.add_terms() = ParseTerm("size").value();
  v1::RewardSpec next;
  for (const char* term : {"ocr,weight=2", "size", "new", "ocr,endpoint=127.0.0.1:8"})
    *next.add_terms() = ParseTerm(term).value();
  FillInEndpoints(now, next.mutable_terms());
  EXPECT_EQ(next.terms(0).endpoint(), "127.0.0.1:7");
  EXPECT_EQ(next.terms(1).endpoint(), "");
  EXPECT_EQ(next.terms(2).endpoint(), "");
  EXPECT_EQ(next.terms(3).endpoint(), "127.0.0.1:8");
}

TEST(DescribeScorers, IsALineAScorerAndTheKinds) {
  v1::ListScorersResponse response;
  response.add_available_kinds("ocr");
  EXPECT_EQ(DescribeScorers(response), "no scorer is loaded\nkinds that can be loaded: ocr\n");
  v1::ScorerInfo* scorer = response.add_scorers();
  scorer->set_name("sign");
  scorer->set_kind("ocr");
  scorer->set_version("tesseract 5");
  scorer->set_images_scored(4);
  EXPECT_THAT(DescribeScorers(response), HasSubstr("tesseract 5: 4 images, 0 errors, 0 queued\n"));
}

}  // namespace
}  // namespace flowawr
