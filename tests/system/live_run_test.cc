// `flowawr run`: stopped once and twice, with its processes killed under it, on a terminal.
#include "tests/system/live_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/shutdown_signal.h"
#include "tests/system/terminal.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(SystemLiveRun, SavesOnCtrlCAndTheResumedRunEndsAsIfNothingHadHappened) {
  ASSERT_FALSE(LiveRunBaseline().empty());
  LiveRun run;
  run.Start();
  run.WaitForUpdate(2);
  run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
  EXPECT_THAT(run.process().log(), HasSubstr("stopped; the run is saved"));
  for (const char* name : {"learner", "actor-0", "actor-1", "reward-server"}) EXPECT_FALSE(run.IsRunning(name)) << name;
  const CommandResult report = Flowawr({"report", run.run_dir()});
  EXPECT_EQ(report.exit_code, 0) << report.output;
  EXPECT_TRUE(std::filesystem::exists(run.run_dir() + "/report.html"));
  EXPECT_EQ(run.Start({"--resume"}).Wait(), 0);
  EXPECT_TRUE(run.ExportedAdapter() == LiveRunBaseline());
}

TEST(SystemLiveRun, EndsAtOnceOnASecondCtrlCAndLosesNothingThatWasSaved) {
  ASSERT_FALSE(LiveRunBaseline().empty());
  LiveRun run;
  run.Start();
  run.WaitForUpdate(2);
  // A learner that cannot save: without the second signal the run would wait for it for ever.
  const pid_t learner = run.PidOf("learner");
  ASSERT_GT(learner, 0);
  ASSERT_EQ(kill(learner, SIGSTOP), 0);
  run.process().Signal(SIGINT);
  ASSERT_TRUE(run.WaitForOutput("Ctrl-C again, a second later or more, kills it"));
  while (!run.process().WaitForExit(ShutdownSignal::kSettleTime / 4)) run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
  EXPECT_THAT(run.process().log(), HasSubstr("killed by a second signal"));
  for (const char* name : {"learner", "actor-0", "actor-1", "reward-server"}) EXPECT_FALSE(run.IsRunning(name)) << name;
  const CommandResult status = Flowawr({"status", run.run_dir()});
  EXPECT_EQ(status.exit_code, 0) << status.output;
  EXPECT_THAT(status.output, HasSubstr("checkpoints/update-"));
  EXPECT_EQ(run.Start({"--resume"}).Wait(), 0);
  EXPECT_TRUE(run.ExportedAdapter() == LiveRunBaseline());
}

TEST(SystemLiveRun, StartsKilledActorsAndRewardServersAgain) {
  ASSERT_FALSE(LiveRunBaseline().empty());
  LiveRun run;
  run.Start();
  run.WaitForUpdate(1);
  run.KillAndWaitForRestart("actor-0");
  run.KillAndWaitForRestart("reward-server");
  EXPECT_EQ(run.process().Wait(), 0);
  EXPECT_TRUE(run.ExportedAdapter() == LiveRunBaseline());
}

TEST(SystemLiveRun, EndsWithAnErrorWhenAProcessCrashesAgainAndAgain) {
  LiveRun run({"local.max_restarts=1", "train.updates=1000"});
  run.Start();
  run.WaitForUpdate(1);
  run.KillAndWaitForRestart("actor-1");
  const pid_t again = run.PidOf("actor-1");
  ASSERT_GT(again, 0);
  ASSERT_EQ(kill(again, SIGKILL), 0);
  EXPECT_EQ(run.process().Wait(), 75);
  EXPECT_THAT(run.process().log(), HasSubstr("local.max_restarts (1) is used up: actor-1 ended with signal 9"));
  EXPECT_THAT(run.process().log(), HasSubstr("--resume"));
  EXPECT_THAT(Flowawr({"status", run.run_dir()}).output, HasSubstr("checkpoints/update-"));
}

TEST(SystemLiveRun, DrawsOnePanelOnATerminalAndLeavesItAsItWas) {
  setenv("TERM", "xterm", 1);
  Terminal terminal(100, 40);
  const termios before = terminal.settings();
  LiveRun run({"train.updates=2"});
  EXPECT_EQ(run.Start({}, terminal.path()).Wait(), 0);
  const termios after = terminal.settings();
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_oflag, before.c_oflag);
  EXPECT_THAT(terminal.written(), HasSubstr("\x1b["));  // it was drawn over
  const std::vector<std::string> screen = terminal.Screen();
  const std::string text = absl::StrJoin(screen, "\n");
  const auto panels = std::count_if(screen.begin(), screen.end(),
                                    [](const std::string& line) { return absl::StartsWith(line, "  updates "); });
  EXPECT_EQ(panels, 1) << text;
  EXPECT_THAT(text, HasSubstr("2 of 2"));
  EXPECT_THAT(text, HasSubstr("next:"));  // below the panel
  EXPECT_EQ(screen.back(), "") << "the shell's prompt begins a line of its own";
}

TEST(SystemLiveRun, NamesAScorerThatThereIsNotAtOnce) {
  LiveRun run({"rewards.terms.0={scorer: telepathy, options: {}}"});
  EXPECT_EQ(run.Start().Wait(), 66);
  EXPECT_THAT(run.process().log(), HasSubstr("unknown scorer kind \"telepathy\"; this server has "));
  EXPECT_THAT(run.process().log(), Not(HasSubstr("started again")));
  LiveRun options({"rewards.terms.0={scorer: ocr, options: {colour: red}}"});
  EXPECT_EQ(options.Start().Wait(), 78);
  EXPECT_THAT(options.process().log(), HasSubstr("unknown option colour; there are language"));
}

// The embedded model's pictures weigh 1 to 3 kB as JPEG: at the default scale of 500 their reward would be near 0.
TEST(SystemLiveRun, LoadsScorersWithTheOptionsOfTheConfiguration) {
  LiveRun run({"train.updates=1", "rewards.terms.0.options.sign=1"});
  run.Start();
  const v1::Status status = run.WaitForUpdate(1);
  EXPECT_GT(status.reward_mean(), 0.5);
  EXPECT_EQ(run.process().Wait(), 0);
}

}  // namespace
}  // namespace flowawr
