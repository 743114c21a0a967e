#include "reward_server/scorers/ocr_reward.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

struct Case {
  std::string target, text;
  double reward;
  int distance;
};

TEST(OcrRewardTest, AgreesWithClosedForms) {
  const Case cases[] = {
      {"CAT", "CAT", 1, 0},          {"CAT", "cat\n", 1, 0},
      {"CAT", "C A T", 1, 0},        {"CAT", "the CAT sat", 1, 0},
      {"CAT", "CAR", 2.0 / 3, 1},    {"CAT", "CT", 2.0 / 3, 1},
      {"CAT", "CXAT", 2.0 / 3, 1},   {"CAT", "", 0, 3},
      {"CAT", "DOG", 0, 3},          {"AB", "XYZXYZ", 0, 4},
      {"NEW YORK", "newyork", 1, 0}, {"ÄÖ", "äö", 1, 0},
      {"ÄÖ", "äo", 0.5, 1},          {"STRASSE", "straße", 1, 0},
      {"fine", "ﬁne", 1, 0},         {"CAT", "ＣＡＴ", 1, 0},
  };
  for (const Case& c : cases) {
    const auto result = ComputeOcrReward(c.target, c.text);
    ASSERT_TRUE(result.ok());
    EXPECT_DOUBLE_EQ(result->reward, c.reward) << c.target << " / " << c.text;
    EXPECT_EQ(result->distance, c.distance) << c.target << " / " << c.text;
  }
}

TEST(OcrRewardTest, AgreesWithAnIndependentImplementation) {
  TempFolder folder;
  const std::string path = folder.path() + "/cases.json";
  ASSERT_TRUE(RunPython("tests/reward_server/scorers/ocr_reward_reference.py", {path}));
  const auto cases = nlohmann::json::parse(ReadFile(path).value());
  ASSERT_GE(cases.size(), 400);
  for (const auto& c : cases) {
    const auto result = ComputeOcrReward(c["target"].get<std::string>(), c["text"].get<std::string>());
    ASSERT_TRUE(result.ok()) << c;
    EXPECT_DOUBLE_EQ(result->reward, c["reward"].get<double>()) << c;
    // A text more than twice as long is only known to be at least a target away.
    const int length = static_cast<int>(NormaliseForOcr(c["target"].get<std::string>()).size());
    EXPECT_EQ(std::min(result->distance, length), std::min(c["distance"].get<int>(), length)) << c;
  }
}

TEST(OcrRewardTest, TextsThatLookTheSameAreTheSame) {
  const std::string composed = "caf\u00E9", decomposed = "cafe\u0301";
  for (const std::string& target : std::vector<std::string>{composed, decomposed, "ca\u200Bf\u00E9", "\uFEFFcaf\u00E9", "ca\u00ADf\u00E9"}) {
    for (const std::string& text : std::vector<std::string>{composed, decomposed, "c\u200Dafe\u0301\u00A0"}) {
      const auto result = ComputeOcrReward(target, text);
      ASSERT_TRUE(result.ok());
      EXPECT_EQ(result->reward, 1) << target << " / " << text;
      EXPECT_TRUE(result->is_exact) << target << " / " << text;
    }
    EXPECT_EQ(ComputeOcrReward(target, "cafe")->distance, 1) << target;
  }
}

TEST(OcrRewardTest, ExactMeansNothingElseWasRead) {
  EXPECT_TRUE(ComputeOcrReward("CAT", " c a t\n")->is_exact);
  EXPECT_FALSE(ComputeOcrReward("CAT", "CATS")->is_exact);
}

TEST(OcrRewardTest, TakesTheFirstQuotedPartOfThePrompt) {
  EXPECT_EQ(*OcrTarget("a \"RED\" and a \"BLUE\" sign", {}), "RED");
  EXPECT_EQ(*OcrTarget("\"A B\"", {}), "A B");
  EXPECT_EQ(*OcrTarget("a sign that says “CAT” and \"DOG\"", {}), "CAT");
  EXPECT_EQ(*OcrTarget("ein Schild: „KATZE“", {}), "KATZE");
  EXPECT_EQ(*OcrTarget("a 19\" screen that says “CAT”", {}), "CAT");
}

TEST(OcrRewardTest, PrefersTheTargetOfTheMetadata) { EXPECT_EQ(*OcrTarget("a \"RED\" sign", {{"target", "X"}}), "X"); }

TEST(OcrRewardTest, RefusesPromptsWithoutATarget) {
  for (const std::string prompt : {"", "no quotes", "one \" only", "empty \"\"", "blank \" \t\"", "unseen \"\u200B\uFEFF\"", "“half"})
    EXPECT_TRUE(absl::IsInvalidArgument(OcrTarget(prompt, {}).status())) << prompt;
  EXPECT_TRUE(absl::IsInvalidArgument(OcrTarget("\"CAT\"", {{"target", " "}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ComputeOcrReward(" ", "CAT").status()));
}

TEST(OcrRewardTest, BoundsTheWorkForLongTexts) {
  EXPECT_EQ(ComputeOcrReward("CAT", std::string(10'000'000, 'x'))->reward, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(ComputeOcrReward(std::string(100'000, 'a'), "b").status()));
}

TEST(OcrRewardTest, SurvivesMalformedUtf8) {
  const auto result = ComputeOcrReward("CAT", "CA\xff\xc3");
  ASSERT_TRUE(result.ok());
  EXPECT_LT(result->reward, 1);
}

}  // namespace
}  // namespace flowawr
