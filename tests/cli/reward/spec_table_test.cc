#include "cli/reward/spec_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/reward/term_text.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::RewardSpec Spec(uint64_t version, uint64_t from_update, const std::vector<std::string>& terms) {
  v1::RewardSpec spec;
  spec.set_version(version);
  spec.set_from_update(from_update);
  for (const std::string& text : terms) *spec.add_terms() = ParseTerm(text).value();
  return spec;
}

TEST(DescribeChange, IsATableOfWhatTheTermsWereAndAre) {
  const std::string text = DescribeChange(
      Spec(2, 1, {"ocr,max_drop=.5", "size,weight=-0.1", "same"}),
      Spec(3, 41, {"ocr,weight=.5", "pickscore,weight=0,endpoint=a:1,endpoint=b:1,max_drop=2", "same"}), 100);
  EXPECT_EQ(text,
            "version 3: ocr weight 0.5, pickscore weight 0 at a:1,b:1 (shadow, max_drop 2), same weight 1\n"
            "effective from update 41 on\n"
            "  scorer     weight      required  max drop    server\n"
            "  ocr        1 -> 0.5    yes       0.5 -> any  the run's own  changed\n"
            "  pickscore  0 (shadow)  no        2           a:1 b:1        new\n"
            "  same       1           yes       any         the run's own\n"
            "  size       -0.1        yes       any         the run's own  removed\n");
}

TEST(DescribeChange, SaysWhatAShadowBecomesAndWhereARewardMovedTo) {
  const std::string text = DescribeChange(Spec(1, 1, {"ocr,weight=0", "size,endpoint=a:1"}),
                                          Spec(2, 5, {"ocr,weight=2", "size,endpoint=b:1"}), 0);
  EXPECT_THAT(text, AllOf(HasSubstr("0 (shadow) -> 2  no -> yes"), HasSubstr("a:1 -> b:1")));
}

TEST(DescribeChange, SaysWhenNoUpdateIsLeft) {
  const v1::RewardSpec before = Spec(1, 1, {"ocr"}), after = Spec(2, 101, {"ocr,weight=2"});
  EXPECT_THAT(DescribeChange(before, after, 100), AllOf(HasSubstr("no update is left"), Not(HasSubstr("effective"))));
  EXPECT_THAT(DescribeChange(before, after, 101), HasSubstr("effective from update 101 on"));
}

}  // namespace
}  // namespace flowawr
