#include "common/telemetry/log.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
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

// What a log store makes of it: each line by itself.
std::vector<nlohmann::json> JsonLines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty()))
    lines.push_back(nlohmann::json::parse(line, nullptr, false));
  return lines;
}

TEST(InitLogging, WritesALineOfJsonAMessage) {
  ::testing::internal::CaptureStderr();
  InitLogging("learner", "info", "json");
  EXPECT_TRUE(LogsJson());
  spdlog::debug("a detail");
  spdlog::info("started");
  SetLogRun("run-1");
  {
    const LogFields update({{"update", uint64_t{41}}, {"reward", 0.5}, {"loss", std::nan("")}});
    const LogFields group({{"group", uint64_t{7}}, {"actor", "actor-0"}, {"update", uint64_t{42}}});
    spdlog::warn("group {} failed", 7);
    std::thread([] { spdlog::info("elsewhere"); }).join();
  }
  spdlog::info("after");
  const std::vector<nlohmann::json> lines = JsonLines(::testing::internal::GetCapturedStderr());
  InitLogging("test");
  SetLogRun("");
  ASSERT_EQ(lines.size(), 4);
  EXPECT_EQ(lines[0]["message"], "started");
  EXPECT_FALSE(lines[0].contains("run"));
  EXPECT_THAT(lines[1]["time"].get<std::string>(), ContainsRegex("^20[0-9-]+T[0-9:]+[.][0-9]{3}Z$"));
  nlohmann::json fields = lines[1];
  fields.erase("time");
  EXPECT_EQ(fields, (nlohmann::json{{"level", "warning"}, {"process", "learner"}, {"run", "run-1"}, {"update", 42},
                                    {"reward", 0.5}, {"loss", nullptr}, {"group", 7}, {"actor", "actor-0"},
                                    {"message", "group 7 failed"}}));
  EXPECT_FALSE(lines[2].contains("group")) << "another thread's fields: " << lines[2];
  EXPECT_FALSE(lines[3].contains("update")) << lines[3];
}

TEST(InitLogging, EscapesInJsonWhatComesFromOutside) {
  ::testing::internal::CaptureStderr();
  InitLogging("learner", "info", "json");
  const std::string name = "a\"}\n{\"level\":\"info\"\x1b[2J";
  spdlog::info("actor {} joined, {}", name, "\xff");
  const std::vector<nlohmann::json> lines = JsonLines(::testing::internal::GetCapturedStderr());
  InitLogging("test");
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0]["message"], "actor " + name + " joined, \uFFFD");
}

TEST(InitLogging, TakesTheFormatFromTheEnvironment) {
  setenv("FLOWAWR_LOG_FORMAT", "json", 1);
  InitLogging("test");
  EXPECT_TRUE(LogsJson());
  InitLogging("test", "info", "text");
  EXPECT_FALSE(LogsJson()) << "what was asked for goes before";
  setenv("FLOWAWR_LOG_FORMAT", "xml", 1);
  ::testing::internal::CaptureStderr();
  InitLogging("test");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("unknown log format \"xml\""));
  unsetenv("FLOWAWR_LOG_FORMAT");
}

}  // namespace
}  // namespace flowawr
