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

TEST(InitLogging, WarnsOfALevelThatIsNone) {
  const std::string lines = Logged("loud");
  EXPECT_THAT(lines, HasSubstr("unknown log level \"loud\""));
  EXPECT_THAT(lines, HasSubstr("group 7 submitted"));
  EXPECT_THAT(lines, Not(HasSubstr("a detail")));
}

}  // namespace
}  // namespace flowawr
