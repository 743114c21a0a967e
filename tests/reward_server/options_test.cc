#include "reward_server/options.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(RewardServerOptionsTest, CollectsRepeatedScorers) {
  const char* argv[] = {
      "flowawr-reward-server", "--scorer", "ocr,margin=3", "--scorer", "j=jpeg_compressibility", "--threads", "2"};
  const auto parsed = ParseRewardServerOptions(7, argv);
  ASSERT_FALSE(parsed.exit_code.has_value());
  ASSERT_EQ(parsed.options.scorers.size(), 2);
  EXPECT_EQ(parsed.options.scorers[0].options().at("margin"), "3");
  EXPECT_EQ(parsed.options.threads, 2);
}

TEST(RewardServerOptionsTest, LeavesWithTheKindOfMistake) {
  const char* unknown[] = {"flowawr-reward-server", "--colour"};
  EXPECT_EQ(ParseRewardServerOptions(2, unknown).exit_code, 64);
  const char* scorer[] = {"flowawr-reward-server", "--scorer", "ocr,margin"};
  EXPECT_EQ(ParseRewardServerOptions(3, scorer).exit_code, 64);
  const char* network[] = {"flowawr-reward-server", "--network-config", "/nowhere.yaml"};
  EXPECT_EQ(ParseRewardServerOptions(3, network).exit_code, 66);
}

}  // namespace
}  // namespace flowawr
