#include "common/telemetry/log.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Logged(const std::string& level) {
  ::testing::internal::CaptureStderr();
  InitLogging("actor-1", level);
  spdlog::debug("a detail");
  spdlog::info("group {} submitted", 7);
  return ::testing::internal::GetCapturedStderr();
}

TEST(InitLogging, MarksLinesWithTimeProcessAndLevel) {
  EXPECT_THAT(Logged("info"), ContainsRegex("^20[0-9-]+T[0-9:.]+ actor-1 info group 7 submitted\n$"));
}

TEST(InitLogging, ShowsWhatTheLevelAsksFor) {
  EXPECT_THAT(Logged("debug"), HasSubstr("a detail"));
  EXPECT_EQ(Logged("off"), "");
}

// An actor chooses its name, a prompt file its prompts.
TEST(InitLogging, LetsNoTextFromOutsideForgeALineOrMoveTheCursor) {
  ::testing::internal::CaptureStderr();
  InitLogging("learner");
  spdlog::info("actor {} joined", "a\n2026-11-26 learner info finished\r\x1b[2J\x7f\tcaf\u00e9");
  const std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(lines, HasSubstr("actor a\n  2026-11-26 learner info finished\\x0d\\x1b[2J\\x7f\tcaf\u00e9 joined\n"));
}

TEST(InitLogging, WarnsOfALevelThatIsNone) {
  const std::string lines = Logged("loud");
  EXPECT_THAT(lines, HasSubstr("unknown log level \"loud\""));
  EXPECT_THAT(lines, HasSubstr("group 7 submitted"));
  EXPECT_THAT(lines, Not(HasSubstr("a detail")));
}

}  // namespace
}  // namespace flowawr
