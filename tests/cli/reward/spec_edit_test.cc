#include "cli/reward/spec_edit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "cli/reward/term_text.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

RewardSpecTerms Terms(const std::vector<std::string>& texts) {
  RewardSpecTerms terms;
  for (const std::string& text : texts) *terms.Add() = ParseTerm(text).value();
  return terms;
}

std::string Shown(const RewardSpecTerms& terms) {
  std::string text;
  for (const v1::RewardSpecTerm& term : terms)
    absl::StrAppend(&text, text.empty() ? "" : " ", term.scorer(), "=", term.weight(), "@", term.endpoint());
  return text;
}

class SpecEdit : public ::testing::Test {
 protected:
  RewardSpecTerms terms_ = Terms({"ocr,endpoint=a:1", "size,weight=-0.1", "new,weight=0,endpoint=b:1"});
};

TEST_F(SpecEdit, ChangesWhatIsNamedAndNothingElse) {
  ASSERT_TRUE(SetWeights({ParseWeight("ocr=.5").value(), ParseWeight("size=0").value()}, &terms_).ok());
  EXPECT_EQ(Shown(terms_), "ocr=0.5@a:1 size=0@ new=0@b:1");
  ASSERT_TRUE(MoveTerm("ocr", "c:1,d:1", &terms_).ok());
  EXPECT_EQ(Shown(terms_), "ocr=0.5@c:1,d:1 size=0@ new=0@b:1");
  ASSERT_TRUE(RemoveTerm("size", &terms_).ok());
  ASSERT_TRUE(AddTerm(ParseTerm("more,weight=3").value(), &terms_).ok());
  ASSERT_TRUE(Promote("new", 0.25, &terms_).ok());
  EXPECT_EQ(Shown(terms_), "ocr=0.5@c:1,d:1 new=0.25@b:1 more=3@");
}

TEST_F(SpecEdit, SaysWhichScorersThereAreAndWhichWasMeant) {
  for (const absl::Status& status : {SetWeights({ParseWeight("orc=1").value()}, &terms_), RemoveTerm("orc", &terms_),
                                     MoveTerm("orc", "a:1", &terms_), Promote("orc", 1, &terms_)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("it has: ocr, size, new"), HasSubstr("did you mean \"ocr\"?")));
  }
}

TEST_F(SpecEdit, RefusesWhatIsThereAlready) {
  const absl::Status twice = AddTerm(ParseTerm("size").value(), &terms_);
  EXPECT_EQ(twice.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(twice.message()), HasSubstr("of weight -0.1. Change that one: flowawr reward weight"));
  const absl::Status trained = Promote("ocr", 2, &terms_);
  EXPECT_EQ(trained.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(trained.message()), HasSubstr("ocr is no shadow: it is trained on with weight 1"));
}

TEST(FillInEndpoints, KeepsTheServerThatAScorerHasUnlessAnotherIsNamed) {
  v1::RewardSpec now;
  *now.mutable_terms() = Terms({"ocr,endpoint=127.0.0.1:7", "size"});
  RewardSpecTerms next = Terms({"ocr,weight=2", "size", "new", "ocr,endpoint=127.0.0.1:8"});
  FillInEndpoints(now, &next);
  EXPECT_EQ(Shown(next), "ocr=2@127.0.0.1:7 size=1@ new=1@ ocr=1@127.0.0.1:8");
}

}  // namespace
}  // namespace flowawr
