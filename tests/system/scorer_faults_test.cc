// Scorers that are slow, broken or asked for what they cannot do: a run holds and says why, trains on nothing that was
// not scored, and goes on when the scorer is well again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"
#include "tests/system/scripted_rewards.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;

using ::testing::Not;
using ::testing::Pair;

// Of a run that nothing has been trained in since it was well.
void ExpectHeld(const v1::Status& status, const std::string& cause) {
  EXPECT_EQ(status.phase(), v1::PAUSED);
  EXPECT_EQ(status.update(), 0);
  EXPECT_EQ(status.samples_trained(), 0);
  EXPECT_THAT(status.dropped(), Contains(Pair(cause, Ge(3))));
  EXPECT_THAT(status.message(), AllOf(HasSubstr("failed 3 times"), HasSubstr("then resume the run")));
}

v1::Status AwaitHold(const Cluster& cluster) {
  return cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
}

std::vector<std::string> Settings(std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"prompts.heldout=", "evaluation.every_updates=0", "rollout.max_attempts=3",
                                       "train.updates=3"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

class ScorerFaultsTest : public ::testing::Test {
 protected:
  // One actor: its circuit breaker is the only one.
  void Start() {
    cluster_.UseRewards(rewards_.endpoint());
    cluster_.StartLearner();
    cluster_.StartActor("actor-0");
  }
  void ExpectToGoOn() {
    rewards_.SetMood(ScriptedRewards::Mood::kWell);
    const CommandResult resume = Flowawr({"resume", "--learner", cluster_.learner_endpoint()});
    EXPECT_EQ(resume.exit_code, 0) << resume.output;
    const v1::Status status =
        cluster_.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
    EXPECT_EQ(status.samples_trained(), 3 * 2 * 4);
    cluster_.ExpectToFinish();
  }

  ScriptedRewards rewards_{{{"scripted", 0}}};
  Cluster cluster_{Settings({"rewards.terms.0.scorer=scripted", "rewards.terms.0.timeout_s=0.3"})};
};

TEST_F(ScorerFaultsTest, HoldsWhenAScorerIsSlowerThanItsTimeoutAndGoesOnWhenItIsWell) {
  rewards_.SetMood(ScriptedRewards::Mood::kSlow);
  Start();
  const v1::Status held = AwaitHold(cluster_);
  ExpectHeld(held, "reward_failed");
  EXPECT_THAT(held.message(),
              AllOf(HasSubstr("scripted"), AnyOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("left alone"))));
  ExpectToGoOn();
}

TEST_F(ScorerFaultsTest, HoldsWhenAScorerFailsOnEveryImageAndGoesOnWhenItIsWell) {
  rewards_.SetMood(ScriptedRewards::Mood::kBroken);
  Start();
  const v1::Status held = AwaitHold(cluster_);
  ExpectHeld(held, "reward_failed");
  EXPECT_THAT(held.message(), HasSubstr("the lamp of the scorer is out"));
  ExpectToGoOn();
}

// More failures than calls: an open breaker spared the server the others.
TEST(SystemScorerFaults, LeavesAServerAloneThatFailsAgainAndAgain) {
  ScriptedRewards rewards({{"scripted", 0}});
  rewards.SetMood(ScriptedRewards::Mood::kSlow);
  Cluster cluster(
      Settings({"rewards.terms.0.scorer=scripted", "rewards.terms.0.timeout_s=0.2", "rollout.max_attempts=12"}));
  cluster.UseRewards(rewards.endpoint());
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  const v1::Status held = AwaitHold(cluster);
  const uint64_t failures = held.dropped().at("reward_failed");
  EXPECT_GE(failures, 12);
  EXPECT_GE(rewards.calls(), 5);
  EXPECT_LT(rewards.calls(), static_cast<int>(failures));
}

// The real scorer, asked for what it cannot know; it was away when the learner would have asked it about the prompts.
TEST(SystemScorerFaults, HoldsWhenNoPromptTellsTheOcrItsTarget) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts.txt", "a red sign\na blue sign\na green sign\n");
  Cluster cluster(Settings({"rewards.terms.0.scorer=ocr", absl::StrCat("prompts.train=", prompts)}));
  cluster.StartRewards();
  cluster.rewards().Signal(SIGTERM);
  EXPECT_EQ(cluster.rewards().Wait(), 0);
  cluster.StartLearner();
  cluster.StartRewards();
  cluster.StartActor("actor-0");
  const v1::Status held = AwaitHold(cluster);
  ExpectHeld(held, "reward_bad_input");
  EXPECT_THAT(held.message(), AllOf(HasSubstr("required scorer ocr"), HasSubstr("target")));
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code ignored;
  for (std::filesystem::directory_iterator entry("/proc", ignored), end; entry != end; entry.increment(ignored)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    const std::string status = ReadFile(absl::StrCat("/proc/", pid, "/status")).value_or("");
    if (absl::StrContains(status, absl::StrCat("PPid:\t", parent, "\n"))) children.push_back(pid);
  }
  return children;
}

// The processes that read for the OCR stop dead in the middle of a training: they are given up and started again.
TEST(SystemScorerFaults, GoesOnWhenTheScorersOwnProcessesStandStill) {
  const TempFolder folder;
  const Process rewards({SystemProgram("flowawr-reward-server"), "--listen", "127.0.0.1:0", "--scorer", "ocr",
                         "--threads", "2", "--max-image-seconds", "1", "--endpoint-file", folder / "endpoint"},
                        folder / "log");
  Cluster cluster(Settings({"rewards.terms.0.scorer=ocr"}));
  cluster.UseRewards(AwaitEndpoint(folder / "endpoint", rewards));
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.WaitForUpdate(1);
  int stopped = 0;
  for (const pid_t reader : ChildrenOf(rewards.pid())) stopped += kill(reader, SIGSTOP) == 0;
  EXPECT_GT(stopped, 0);
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.update(), 3);
  cluster.ExpectToFinish();
  ShowLogOfFailure(folder / "log");
}

// Nothing closes its connections, so that only silence tells.
TEST(SystemScorerFaults, WarnsOfARewardServerThatStandsStillAndLosesNothing) {
  Cluster cluster(Settings({"train.updates=6"}));
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  cluster.rewards().Signal(SIGSTOP);
  cluster.WaitForStatus([&](const v1::Status& status) {
    return status.warnings_size() == 1 &&
           absl::StrContains(status.warnings(0), cluster.reward_endpoint() + " does not answer");
  });
  cluster.rewards().Signal(SIGCONT);
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_THAT(status.dropped(), testing::IsEmpty());
  cluster.ExpectToFinish();
}

// An OCR whose language is not installed does not serve: nobody waits for rewards that will never come.
TEST(SystemScorerFaults, DoesNotStartWithAnOcrThatCannotRead) {
  LiveRun run({"rewards.terms.0={scorer: ocr, options: {scale: 1}}", "rewards.terms.0.options={language: xyz}"});
  EXPECT_EQ(run.Start().Wait(), 66);
  EXPECT_THAT(run.process().log(), HasSubstr("Tesseract cannot load the language \"xyz\""));
}

// The same with the weighted sum; nobody's figures say 0 for what was not measured, and no target is reached by it.
TEST(SystemScorerFaults, TrainsOnTheOtherRewardsOfASumAndSaysThatOneIsMissing) {
  Cluster alone;
  alone.StartAll();
  alone.ExpectToFinish();
  ScriptedRewards broken({{"scripted", 1000}});
  broken.SetMood(ScriptedRewards::Mood::kBroken);
  Cluster cluster({"rewards.terms.1.scorer=scripted", "rewards.terms.1.is_required=false",
                   absl::StrCat("rewards.terms.1.endpoint=", broken.endpoint()), "train.target_reward=-1"});
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  cluster.ExpectToFinish();
  EXPECT_EQ(status.update(), 6);
  EXPECT_EQ(status.updates_skipped(), 0);
  EXPECT_FALSE(status.has_reward_mean());
  EXPECT_FALSE(status.latest().has_reward_mean());
  EXPECT_EQ(status.latest().missing().at("scripted"), status.latest().images());
  EXPECT_THAT(status.latest().by_scorer(), ElementsAre(Pair("small", Not(0.0))));
  EXPECT_THAT(status.warnings(), ElementsAre(AllOf(HasSubstr("scripted is missing"), HasSubstr("the lamp"))));
  const std::string metrics = ReadFile(cluster.run_dir() + "/metrics.jsonl").value();
  EXPECT_THAT(metrics, AllOf(HasSubstr("\"reward_mean\":null"), Not(HasSubstr("\"reward_mean\":0"))));
  EXPECT_THAT(cluster.learner().log(), HasSubstr("optional reward scripted is missing"));
  ASSERT_FALSE(alone.ExportedAdapter().empty());
  EXPECT_TRUE(cluster.ExportedAdapter() == alone.ExportedAdapter());
}

// Optional or not, somebody must have measured something.
TEST(SystemScorerFaults, HoldsWhenNoRewardAtAllCanBeHad) {
  ScriptedRewards broken({{"scripted", 0}});
  broken.SetMood(ScriptedRewards::Mood::kBroken);
  Cluster cluster(Settings({"rewards.terms.0.scorer=scripted", "rewards.terms.0.is_required=false"}));
  cluster.UseRewards(broken.endpoint());
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  const v1::Status held = AwaitHold(cluster);
  ExpectHeld(held, "reward_failed");
  EXPECT_THAT(held.message(), HasSubstr("gave any reward"));
}

// A missing reward is not 0: with each reward's energies by themselves, the other's are as if it were alone.
TEST(SystemScorerFaults, TrainsOnTheOtherRewardWhenAnOptionalScorerFailsOnEveryImage) {
  Cluster alone({"rewards.combination=decoupled"});
  alone.StartAll();
  alone.ExpectToFinish();
  ScriptedRewards broken({{"scripted", 1000}});
  broken.SetMood(ScriptedRewards::Mood::kBroken);
  Cluster cluster({"rewards.combination=decoupled", "rewards.terms.1.scorer=scripted",
                   "rewards.terms.1.is_required=false", absl::StrCat("rewards.terms.1.endpoint=", broken.endpoint())});
  cluster.StartAll();
  cluster.ExpectToFinish();
  EXPECT_GT(broken.calls(), 0);
  ASSERT_FALSE(alone.ExportedAdapter().empty());
  EXPECT_TRUE(cluster.ExportedAdapter() == alone.ExportedAdapter());
}

}  // namespace
}  // namespace flowawr
