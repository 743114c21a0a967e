#include "actor/options.h"

#include <gtest/gtest.h>

#include <vector>

namespace flowawr {
namespace {

ParsedOptions Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "flowawr-actor");
  return ParseOptions(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ActorOptions, NeedOnlyTheLearner) {
  const ParsedOptions parsed = Parse({"--learner", "127.0.0.1:5"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_EQ(parsed.options.learner, "127.0.0.1:5");
  EXPECT_EQ(parsed.options.threads, 1);
  EXPECT_FALSE(parsed.options.id.empty());
  EXPECT_NE(parsed.options.id, Parse({"--learner", "127.0.0.1:5"}).options.id);
}

TEST(ActorOptions, EndsWithUsageForMistakesAndWithZeroForHelp) {
  EXPECT_EQ(Parse({}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--threads", "0"}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--colour"}).exit_code, 64);
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
}

TEST(ActorOptions, EndsWithConfigurationForAConfigurationThatCannotBeRead) {
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--network-config", "/nonexistent.yaml"}).exit_code, 78);
}

TEST(ExitCodeOf, TellsWhatASupervisorMayDo) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 69);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), 77);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("")), 78);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), 70);
}

}  // namespace
}  // namespace flowawr
