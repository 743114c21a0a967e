#include "cli/restart_policy.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using Action = RestartDecision::Action;

TEST(RestartPolicyTest, StartsWorkersAgainAfterAPauseThatDoublesUpToTenSeconds) {
  const absl::Duration delays[] = {absl::Milliseconds(250), absl::Milliseconds(500), absl::Seconds(1),
                                   absl::Seconds(2),        absl::Seconds(4),        absl::Seconds(8),
                                   absl::Seconds(10),       absl::Seconds(10)};
  for (const ProcessRole role : {ProcessRole::kActor, ProcessRole::kRewardServer}) {
    for (int i = 0; i < 8; ++i) {
      const RestartDecision decision = DecideRestart({.role = role, .restarts = i, .max_restarts = 1});
      EXPECT_EQ(decision.action, Action::kRestart) << i;
      EXPECT_EQ(decision.delay, delays[i]) << i;
    }
  }
  EXPECT_EQ(DecideRestart({.restarts = 1000000, .max_restarts = 1}).delay, absl::Seconds(10));
}

TEST(RestartPolicyTest, StartsAgainAWorkerThatLeftWithoutAnError) {
  const RestartDecision decision = DecideRestart({.succeeded = true, .restarts_counted = 1, .max_restarts = 1});
  EXPECT_EQ(decision.action, Action::kRestart);
  EXPECT_GE(decision.delay, absl::Seconds(1));  // the learner may be about to end, too
}

TEST(RestartPolicyTest, EndsTheRunWhenRestartsAreUsedUp) {
  const RestartDecision decision = DecideRestart({.restarts_counted = 3, .max_restarts = 3});
  EXPECT_EQ(decision.action, Action::kEndRun);
  EXPECT_THAT(decision.reason, testing::HasSubstr("local.max_restarts (3)"));
}

TEST(RestartPolicyTest, GoesOnWithoutARankThatItCanDoWithout) {
  ProcessExit exit = {.role = ProcessRole::kRank, .is_dispensable = true, .restarts_counted = 3, .max_restarts = 3};
  EXPECT_EQ(DecideRestart(exit).action, Action::kGiveUp);
  exit.restarts_counted = 2;
  EXPECT_EQ(DecideRestart(exit).action, Action::kRestart);
  exit = {.role = ProcessRole::kRank, .restarts_counted = 3, .max_restarts = 3};  // train.on_lost_rank: wait
  EXPECT_EQ(DecideRestart(exit).action, Action::kEndRun);
}

TEST(RestartPolicyTest, EndsTheRunAtOnceWhenAnotherStartWouldEndTheSameWay) {
  const RestartDecision decision =
      DecideRestart({.role = ProcessRole::kRewardServer, .is_hopeless = true, .max_restarts = 9});
  EXPECT_EQ(decision.action, Action::kEndRun);
  EXPECT_THAT(decision.reason, testing::HasSubstr("the reward server"));
  for (const char* end : {"exit status 64", "exit status 65", "exit status 66", "exit status 77", "exit status 78"})
    EXPECT_TRUE(IsHopeless(end)) << end;
  for (const char* end : {"", "exit status 1", "exit status 69", "exit status 70", "signal 9 (Killed)"})
    EXPECT_FALSE(IsHopeless(end)) << end;
}

TEST(RestartPolicyTest, TakesATakenAddressForHopelessAtTheFirstStartAlone) {
  EXPECT_TRUE(IsHopeless("exit status 73", true));
  EXPECT_FALSE(IsHopeless("exit status 73"));
  EXPECT_FALSE(IsHopeless("exit status 70", true));
}

TEST(RestartPolicyTest, EndsTheRunWithTheLearner) {
  const RestartDecision finished = DecideRestart({.role = ProcessRole::kLearner, .succeeded = true, .max_restarts = 9});
  EXPECT_EQ(finished.action, Action::kEndRun);
  EXPECT_EQ(finished.reason, "");
  const RestartDecision failed = DecideRestart({.role = ProcessRole::kLearner, .max_restarts = 9});
  EXPECT_EQ(failed.action, Action::kEndRun);
  EXPECT_NE(failed.reason, "");
}

TEST(RestartPolicyTest, LeavesEveryProcessAloneOnceTheRunEnds) {
  for (const ProcessRole role : {ProcessRole::kLearner, ProcessRole::kActor, ProcessRole::kRewardServer}) {
    EXPECT_EQ(DecideRestart({.role = role, .run_is_ending = true, .restarts_counted = 5}).action, Action::kNothing);
  }
}

}  // namespace
}  // namespace flowawr
