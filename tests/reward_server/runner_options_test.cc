#include "reward_server/runner_options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(RunnerOptionsTest, TakesItsOwnAndLeavesTheScorersOptions) {
  std::map<std::string, std::string> options = {{"threads", "3"}, {"batch", "16"},         {"wait_ms", "0"},
                                                {"queue", "7"},   {"image_seconds", "90"}, {"layout", "sparse"}};
  const auto taken = TakeRunnerOptions(options, {.max_side = 99});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->threads, 3);
  EXPECT_EQ(taken->largest_batch, 16);
  EXPECT_EQ(taken->max_wait, absl::ZeroDuration());
  EXPECT_EQ(taken->max_queued_images, 7);
  EXPECT_EQ(taken->max_image_time, absl::Seconds(90));
  EXPECT_EQ(taken->max_side, 99);
  EXPECT_EQ(options, (std::map<std::string, std::string>{{"layout", "sparse"}}));
}

TEST(RunnerOptionsTest, HasTheServersAsDefaults) {
  std::map<std::string, std::string> options;
  const auto taken = TakeRunnerOptions(options, {.threads = 5, .max_wait = absl::Microseconds(1500)});
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken->threads, 5);
  EXPECT_EQ(taken->max_wait, absl::Microseconds(1500));
}

TEST(RunnerOptionsTest, SaysWhatIsAccepted) {
  std::map<std::string, std::string> options = {{"threads", "many"}};
  EXPECT_THAT(std::string(TakeRunnerOptions(options, {}).status().message()),
              HasSubstr("threads=many: expected an integer from 1 to 256"));
}

TEST(RunnerOptionsTest, KnowsItsDeviceByName) {
  std::map<std::string, std::string> options = {{"device", "gpus"}};
  EXPECT_THAT(std::string(TakeRunnerOptions(options, {}).status().message()),
              AllOf(HasSubstr("option device: gpus: no such device"), HasSubstr("did you mean \"cuda\"?")));
  options = {{"device", "cpu"}};
  EXPECT_EQ(TakeRunnerOptions(options, {.device = "cuda:7"})->device, "cpu");
}

}  // namespace
}  // namespace flowawr
