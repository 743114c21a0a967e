#include "reward_server/options.h"

#include "gmock/gmock.h"
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
  const char* device[] = {"flowawr-reward-server", "--scorer", "jpeg_compressibility,device=cuda:77"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(ParseRewardServerOptions(3, device).exit_code, 64);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("jpeg_compressibility: option device: cuda:77: no such device"));
  const char* network[] = {"flowawr-reward-server", "--network-config", "/nowhere.yaml"};
  EXPECT_EQ(ParseRewardServerOptions(3, network).exit_code, 66);
}

}  // namespace
}  // namespace flowawr
