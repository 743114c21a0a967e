#include "reward_server/options.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(ParseScorerTest, TakesTheNameAsKindWhenThereIsNone) {
  const auto scorer = ParseScorer("ocr");
  ASSERT_TRUE(scorer.ok());
  EXPECT_EQ(scorer->name(), "ocr");
  EXPECT_EQ(scorer->kind(), "ocr");
}

TEST(ParseScorerTest, TakesKindAndOptions) {
  const auto scorer = ParseScorer("small=jpeg_compressibility,scale=5,quality=80");
  ASSERT_TRUE(scorer.ok());
  EXPECT_EQ(scorer->name(), "small");
  EXPECT_EQ(scorer->kind(), "jpeg_compressibility");
  EXPECT_EQ(scorer->options().at("scale"), "5");
  EXPECT_EQ(scorer->options().at("quality"), "80");
}

TEST(ParseScorerTest, RefusesWhatIsMalformed) {
  for (const char* text : {"", "=ocr", "ocr=", "ocr,", "ocr,margin", "ocr,=1", "ocr,margin=1,margin=2"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseScorer(text).status())) << text;
}

TEST(RewardServerOptionsTest, CollectsRepeatedScorers) {
  const char* argv[] = {"flowawr-reward-server", "--scorer", "ocr,margin=3", "--scorer", "j=jpeg_compressibility",
                        "--threads", "2"};
  const auto parsed = ParseRewardServerOptions(7, argv);
  ASSERT_FALSE(parsed.exit_code.has_value());
  ASSERT_EQ(parsed.options.scorers.size(), 2);
  EXPECT_EQ(parsed.options.scorers[0].options().at("margin"), "3");
  EXPECT_EQ(parsed.options.threads, 2);
}

TEST(RewardServerOptionsTest, LeavesWithUsageErrors) {
  const char* unknown[] = {"flowawr-reward-server", "--colour"};
  EXPECT_EQ(ParseRewardServerOptions(2, unknown).exit_code, 64);
  const char* scorer[] = {"flowawr-reward-server", "--scorer", "ocr,margin"};
  EXPECT_EQ(ParseRewardServerOptions(3, scorer).exit_code, 64);
  const char* network[] = {"flowawr-reward-server", "--network-config", "/nowhere.yaml"};
  EXPECT_EQ(ParseRewardServerOptions(3, network).exit_code, 78);
}

}  // namespace
}  // namespace flowawr
