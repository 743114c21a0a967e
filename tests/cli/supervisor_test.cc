#include "cli/supervisor.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SupervisorTest : public testing::Test {
 protected:
  ProcessSpec Shell(ProcessRole role, const std::string& name, const std::string& script) {
    return {.role = role, .name = name, .arguments = {"/bin/sh", "-c", script}, .log_file = folder_ / name};
  }
  // Until a child of this process has ended; it stays to be reaped.
  static void AwaitAnyExit() {
    siginfo_t info;
    ASSERT_EQ(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
  }
  std::string Log(const std::string& name) { return ReadFile(folder_ / name).value_or(""); }

  TempFolder folder_;
  ManualClock clock_;
};

// As PID 1 of a container does: here by being made the one that orphans go to.
TEST_F(SupervisorTest, ReapsOrphansThatItIsGivenAndKeepsTheEndsOfItsOwn) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Supervisor supervisor(0, clock_);
  // The shell ends and leaves its child, whose end is an orphan's.
  const std::string script = "(exec sleep 0) & echo $! > " + (folder_ / "pid");
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kLearner, "learner", script)).ok());
  while (supervisor.IsRunning(ProcessRole::kLearner)) {
    AwaitAnyExit();
    supervisor.Poll();
  }
  EXPECT_TRUE(supervisor.failure().ok()) << supervisor.failure();
  const pid_t orphan = std::stoi(Log("pid"));
  siginfo_t info;
  while (waitid(P_PID, static_cast<id_t>(orphan), &info, WEXITED | WNOWAIT) == 0) supervisor.Poll();
  EXPECT_EQ(errno, ECHILD);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST_F(SupervisorTest, StartsAnActorAgainAfterItsPauseWithItsNewArguments) {
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kActor, "actor-0", "echo first; exit 3")).ok());
  supervisor.SetArguments("actor-0", {"/bin/sh", "-c", "echo second"});
  AwaitAnyExit();
  EXPECT_THAT(supervisor.Poll(), IsEmpty());
  EXPECT_FALSE(supervisor.IsRunning(ProcessRole::kActor));
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(supervisor.Poll(), ElementsAre(HasSubstr("actor-0 ended with exit status 3 and was started again")));
  EXPECT_TRUE(supervisor.IsRunning(ProcessRole::kActor));
  AwaitAnyExit();
  EXPECT_EQ(Log("actor-0"), "first\nsecond\n");
  EXPECT_FALSE(supervisor.is_ending());
}

TEST_F(SupervisorTest, EndsTheRunWithTheEndOfTheLogWhenTheLearnerFails) {
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kLearner, "learner", "echo disk full >&2; exit 73")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_TRUE(supervisor.is_ending());
  EXPECT_THAT(supervisor.failure().message(), HasSubstr("learner ended with exit status 73"));
  EXPECT_THAT(supervisor.failure().message(), HasSubstr("disk full"));
}

TEST_F(SupervisorTest, EndsTheRunWithoutFailureWhenTheLearnerIsDone) {
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kLearner, "learner", "exit 0")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_TRUE(supervisor.is_ending());
  EXPECT_TRUE(supervisor.failure().ok()) << supervisor.failure();
}

TEST_F(SupervisorTest, GivesUpWhenTheRestartsOfTheRunAreUsedUp) {
  Supervisor supervisor(1, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kRewardServer, "reward-server", "exit 1")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  clock_.Advance(absl::Seconds(1));
  supervisor.Poll();
  ASSERT_TRUE(supervisor.IsRunning(ProcessRole::kRewardServer));
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_TRUE(supervisor.is_ending());
  EXPECT_THAT(supervisor.failure().message(), HasSubstr("local.max_restarts"));
}

TEST_F(SupervisorTest, CallsAProcessThatIsKilledAgainAndAgainNoErrorOfItsOwn) {
  for (const auto& [signal, code] :
       {std::pair("KILL", absl::StatusCode::kAborted), std::pair("SEGV", absl::StatusCode::kInternal)}) {
    Supervisor supervisor(0, clock_);
    ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kRank, "rank-1", absl::StrCat("kill -", signal, " $$"))).ok());
    AwaitAnyExit();
    supervisor.Poll();
    EXPECT_EQ(supervisor.failure().code(), code) << supervisor.failure();
    EXPECT_THAT(supervisor.failure().message(), HasSubstr("local.max_restarts (0)"));
  }
}

TEST_F(SupervisorTest, GoesOnWithoutADispensableProcessAndItsRestartsAreItsOwn) {
  Supervisor supervisor(1, clock_);
  ProcessSpec rank = Shell(ProcessRole::kRank, "rank-1", "exit 75");
  rank.is_dispensable = true;
  ASSERT_TRUE(supervisor.Start(rank).ok());
  AwaitAnyExit();
  supervisor.Poll();
  clock_.Advance(absl::Seconds(1));
  supervisor.Poll();
  AwaitAnyExit();
  EXPECT_THAT(supervisor.Poll(),
              ElementsAre(AllOf(HasSubstr("rank-1 ended with exit status 75"), HasSubstr("local.max_restarts (1)"),
                                HasSubstr("the run goes on without it"))));
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(supervisor.Poll(), IsEmpty());
  EXPECT_FALSE(supervisor.is_ending());
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kActor, "actor-0", "exit 3")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_FALSE(supervisor.is_ending()) << "the run's restarts are not used up";
}

TEST_F(SupervisorTest, DoesNotStartAgainWhatCannotWork) {
  Supervisor supervisor(9, clock_);
  ASSERT_TRUE(
      supervisor.Start(Shell(ProcessRole::kRewardServer, "reward-server", "echo unknown scorer; exit 78")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_TRUE(supervisor.is_ending());
  EXPECT_EQ(supervisor.failure().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(supervisor.failure().message(), HasSubstr("unknown scorer"));
}

TEST_F(SupervisorTest, StartsNothingAgainOnceTheRunEnds) {
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kActor, "actor-0", "exec cat /dev/zero > /dev/null")).ok());
  supervisor.EndRun();
  supervisor.Signal(ProcessRole::kActor, SIGTERM);
  AwaitAnyExit();
  supervisor.Poll();
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(supervisor.Poll(), IsEmpty());
  EXPECT_FALSE(supervisor.IsRunning(ProcessRole::kActor));
  EXPECT_TRUE(supervisor.failure().ok()) << supervisor.failure();
}

TEST_F(SupervisorTest, KillsWhatRunsWhenItGoes) {
  {
    Supervisor supervisor(3, clock_);
    ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kActor, "actor-0", "exec cat /dev/zero > /dev/null")).ok());
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // no child is left
}

TEST_F(SupervisorTest, ShowsTheLastLinesOfALog) {
  EXPECT_EQ(TailOfLog(folder_.Write("log", "a\nb\nc\n"), 2), "b\nc");
  EXPECT_EQ(TailOfLog(folder_ / "none", 2), "");
  EXPECT_EQ(TailOfLog(folder_.Write("long", std::string(1 << 20, 'x') + "\nlast\n"), 1), "last");
}

TEST_F(SupervisorTest, ShowsAMessageOfManyLinesWhole) {
  std::string log = "2026-11-26 learner info began\nflowawr-learner: 40 prompts are bad:\n";
  for (int i = 0; i < 40; ++i) log += "  prompt\n";
  const std::string tail = TailOfLog(folder_.Write("log", log), 12, "/bin/flowawr-learner");
  EXPECT_TRUE(tail.starts_with("flowawr-learner: 40 prompts are bad:\n")) << tail;
  EXPECT_EQ(LastMessage(folder_ / "log", "/bin/flowawr-learner"), "40 prompts are bad:");
  EXPECT_EQ(LastMessage(folder_ / "log", "/bin/flowawr-learner", log.size()), "");
}

// The log of a run that was resumed holds the errors of earlier tries, too.
TEST_F(SupervisorTest, ShowsNothingOfEarlierLives) {
  folder_.Write("learner", "sh: the seed is another\n");
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kLearner, "learner", "echo sh: disk full; exit 75")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_THAT(std::string(supervisor.failure().message()), AllOf(HasSubstr("disk full"), Not(HasSubstr("seed"))));
}

TEST_F(SupervisorTest, SaysWhyItStartsAProcessAgain) {
  Supervisor supervisor(3, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kRewardServer, "reward-server", "echo sh: no room; exit 75")).ok());
  AwaitAnyExit();
  EXPECT_THAT(supervisor.Poll(), IsEmpty());
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(supervisor.Poll(),
              ElementsAre(HasSubstr("reward-server ended with exit status 75 and was started again: no room (log: ")));
}

TEST_F(SupervisorTest, EndsTheRunWhenAnAddressIsTakenAtTheFirstStart) {
  Supervisor supervisor(9, clock_);
  ASSERT_TRUE(supervisor.Start(Shell(ProcessRole::kRewardServer, "reward-server", "echo sh: in use; exit 73")).ok());
  AwaitAnyExit();
  supervisor.Poll();
  EXPECT_TRUE(supervisor.is_ending());
  EXPECT_EQ(supervisor.failure().code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace flowawr
