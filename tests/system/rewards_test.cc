// Rewards that are listed, loaded, unloaded and swapped while a run goes on: no group is lost, no batch mixes two
// specs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/rpc/endpoint_file.h"
#include "nlohmann/json.hpp"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"
#include "tests/system/scripted_rewards.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string OutputOf(const std::vector<std::string>& arguments) {
  const CommandResult result = Flowawr(arguments);
  EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.output;
  return result.output;
}

// The mean reward of every update, from metrics.jsonl.
std::vector<double> RewardsOf(const std::string& run_dir) {
  std::vector<double> rewards;
  for (absl::string_view line : absl::StrSplit(ReadFile(run_dir + "/metrics.jsonl").value_or(""), '\n')) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("kind", "") == "update") rewards.push_back(entry.value("reward_mean", 0.0));
  }
  return rewards;
}

// Strict, and with groups of several batches under way.
class RewardSwapTest : public ::testing::TestWithParam<int> {};

// The first server's rewards lie in [1, 2), the second's in [100, 101): a batch that mixed both would lie between.
TEST_P(RewardSwapTest, LosesNoGroupAndMixesNoTwoSpecsInABatch) {
  ScriptedRewards first({{"one", 1}}), second({{"hundred", 100}});
  const int updates = 16;
  Cluster cluster({absl::StrCat("rollout.max_staleness=", GetParam()), absl::StrCat("train.updates=", updates),
                   "rollout.groups_per_batch=3", "rewards.terms.0.scorer=one", "evaluation.every_updates=0"});
  cluster.UseRewards(first.endpoint());
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.StartActor("actor-1");
  // There and back, so that it happens with groups in every state.
  const std::string to_second = absl::StrCat("hundred,endpoint=", second.endpoint());
  const std::string to_first = absl::StrCat("one,endpoint=", first.endpoint());
  int version = 1;
  for (const auto& [update, term] : {std::pair(2, to_second), std::pair(6, to_first), std::pair(10, to_second)}) {
    cluster.WaitForUpdate(update);
    EXPECT_THAT(OutputOf({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term", term}),
                HasSubstr(absl::StrCat("version ", ++version, ": ")));
  }
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  cluster.ExpectToFinish();
  EXPECT_EQ(status.update(), updates);
  EXPECT_EQ(status.samples_trained(), updates * 3 * 4);
  // Made again, or (duplicate) made again by the other actor before the first one's came.
  for (const auto& [cause, count] : status.dropped())
    EXPECT_TRUE(cause == "stale" || cause == "swapped" || cause == "duplicate") << cause << " " << count;
  const std::vector<double> rewards = RewardsOf(cluster.run_dir());
  EXPECT_EQ(rewards.size(), updates);
  for (const double reward : rewards)
    EXPECT_TRUE((reward >= 1 && reward < 2) || (reward >= 100 && reward < 101)) << reward;
  EXPECT_LT(rewards.front(), 2);
  EXPECT_GT(rewards.back(), 99);
}

INSTANTIATE_TEST_SUITE_P(Staleness, RewardSwapTest, ::testing::Values(0, 2));

// An actor that stands still holds a group back while later ones are trained on: the spec must not change where the
// groups of the old one fill no whole batch.
TEST(SystemRewards, SwapsWhileAGroupIsHeldBack) {
  ScriptedRewards rewards({{"one", 1}, {"hundred", 100}});
  const int updates = 18;
  Cluster cluster({"rollout.max_staleness=2", absl::StrCat("train.updates=", updates), "rollout.groups_per_batch=3",
                   "rewards.terms.0.scorer=one", "evaluation.every_updates=0"});
  cluster.UseRewards(rewards.endpoint());
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.StartActor("actor-1");
  uint64_t update = 1;
  for (const char* scorer : {"hundred", "one", "hundred"}) {
    cluster.WaitForUpdate(update);
    cluster.actor("actor-1").Signal(SIGSTOP);
    update = cluster.WaitForUpdate(update + 1).update();
    OutputOf({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term", scorer});
    cluster.actor("actor-1").Signal(SIGCONT);
    update += 3;
  }
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  cluster.ExpectToFinish();
  EXPECT_EQ(status.samples_trained(), updates * 3 * 4);
  for (const double reward : RewardsOf(cluster.run_dir()))
    EXPECT_TRUE((reward >= 1 && reward < 2) || (reward >= 100 && reward < 101)) << reward;
}

TEST(SystemRewards, SwapsToAScorerThatWasLoadedMeanwhileAndUnloadsTheOldOne) {
  LiveRun run({"train.updates=1000"});
  run.Start();
  run.WaitForUpdate(1);
  const std::string& dir = run.run_dir();
  EXPECT_THAT(OutputOf({"reward", "list", "--run-dir", dir}), HasSubstr("jpeg_compressibility jpeg_compressibility"));

  const CommandResult unknown = Flowawr({"reward", "swap", dir, "--term", "size"});
  EXPECT_EQ(unknown.exit_code, 66);
  EXPECT_THAT(unknown.output, AllOf(HasSubstr("has no scorer \"size\"; there are: jpeg_compressibility"),
                                    HasSubstr("flowawr reward load size=KIND")));
  const CommandResult unknown_kind = Flowawr({"reward", "load", "size=telepathy", "--run-dir", dir});
  EXPECT_EQ(unknown_kind.exit_code, 66);
  EXPECT_THAT(unknown_kind.output, AllOf(HasSubstr("this server has "), HasSubstr("jpeg_compressibility, ")));

  const CommandResult in_use = Flowawr({"reward", "unload", "jpeg_compressibility", dir});
  EXPECT_EQ(in_use.exit_code, 78);
  EXPECT_THAT(in_use.output,
              AllOf(HasSubstr("is in use: term 0 (jpeg_compressibility, weight "), HasSubstr("--force")));
  const CommandResult busy =
      Flowawr({"reward", "unload", "jpeg_compressibility", "--server",
               ReadEndpointFile(dir + "/endpoints/reward-server").value()});
  EXPECT_EQ(busy.exit_code, 78);
  EXPECT_THAT(busy.output, HasSubstr("was asked for a reward"));

  OutputOf({"reward", "load", "size=jpeg_compressibility,scale=1,sign=1", dir});
  EXPECT_THAT(OutputOf({"reward", "list", dir}), HasSubstr("size "));
  EXPECT_THAT(OutputOf({"reward", "reload", "size,scale=2,sign=1", dir}), HasSubstr("reloaded size ("));
  EXPECT_EQ(Flowawr({"reward", "reload", "sise", dir}).exit_code, 66);
  // Without an endpoint: the run's own server.
  EXPECT_THAT(OutputOf({"reward", "swap", dir, "--term", "size,weight=2"}), HasSubstr("version 2: size weight 2"));
  run.WaitForStatus([](const v1::Status& status) { return status.reward_mean() > 0; });
  OutputOf({"reward", "unload", "jpeg_compressibility", "--run-dir", dir});
  EXPECT_THAT(OutputOf({"reward", "list", "--run-dir", dir}),
              Not(HasSubstr("jpeg_compressibility jpeg_compressibility")));
  const uint64_t update = run.WaitForUpdate(1).update();
  const v1::Status unloaded = run.WaitForUpdate(update + 2);
  for (const auto& [cause, count] : unloaded.dropped()) EXPECT_EQ(cause, "swapped") << count;

  // A server that is started again has the scorer, too: after a crash, and in the resumed run.
  run.KillAndWaitForRestart("reward-server");
  const uint64_t crashed = run.WaitForUpdate(1).update();
  EXPECT_GT(run.WaitForUpdate(crashed + 2).reward_mean(), 0);
  run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
  run.Start({"--resume"});
  const v1::Status resumed = run.WaitForUpdate(1);
  EXPECT_EQ(resumed.reward_spec().version(), 2);
  EXPECT_GT(run.WaitForUpdate(resumed.update() + 1).reward_mean(), 0);
  run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
}

TEST(SystemRewards, KeepsASwapThroughCheckpointAndResume) {
  Cluster cluster({"train.updates=8"});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  // `twin` has no server of its own: the one that the learner was started with.
  OutputOf({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term", "twin,weight=-1"});
  // Of the batch that was under way at the swap, and of the next.
  const uint64_t now = cluster.WaitForUpdate(1).update();
  EXPECT_GT(cluster.WaitForUpdate(now + 2).reward_mean(), 0);
  cluster.learner().Kill();
  cluster.StartLearner(/*is_resume=*/true);
  const v1::Status status = cluster.WaitForStatus([](const v1::Status&) { return true; });
  EXPECT_EQ(status.reward_spec().version(), 2);
  ASSERT_EQ(status.reward_spec().terms_size(), 1);
  EXPECT_EQ(status.reward_spec().terms(0).scorer(), "twin");
  cluster.ExpectToFinish();
  const std::vector<double> rewards = RewardsOf(cluster.run_dir());
  ASSERT_EQ(rewards.size(), 8u);
  EXPECT_LT(rewards.front(), 0);
  EXPECT_GT(rewards.back(), 0);
}

// Of a reward server that dies for good: groups that were offered under the old spec take the new one.
TEST(SystemRewards, ARunWhoseRewardServerDiedGoesOnWithAnother) {
  ScriptedRewards second({{"hundred", 100}});
  auto first = std::make_unique<ScriptedRewards>(std::map<std::string, double>{{"one", 1}});
  Cluster cluster({"train.updates=4", "rollout.max_attempts=2", "rewards.terms.0.scorer=one",
                   "rewards.terms.0.timeout_s=0.5", "evaluation.every_updates=0"});
  cluster.UseRewards(first->endpoint());
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.WaitForUpdate(1);
  first->SetMood(ScriptedRewards::Mood::kBroken);
  first.reset();
  const v1::Status held =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  EXPECT_THAT(held.message(), HasSubstr("failed 2 times"));
  OutputOf({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term",
            absl::StrCat("hundred,endpoint=", second.endpoint())});
  OutputOf({"resume", "--learner", cluster.learner_endpoint()});
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.update(), 4);
  cluster.ExpectToFinish();
  const std::vector<double> rewards = RewardsOf(cluster.run_dir());
  ASSERT_EQ(rewards.size(), 4u);
  EXPECT_LT(rewards.front(), 2);
  EXPECT_GT(rewards.back(), 99);
  EXPECT_THAT(ReadFile(cluster.run_dir() + "/metrics.jsonl").value_or(""),
              AllOf(HasSubstr("\"kind\":\"reward_spec\""), HasSubstr("hundred")));
}

TEST(SystemRewards, RefusesAServerThatDoesNotAnswerAndKeepsTheRewards) {
  Cluster cluster;
  cluster.StartRewards();
  cluster.StartLearner();
  const CommandResult swap =
      Flowawr({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term", "ocr,endpoint=127.0.0.1:1"});
  EXPECT_EQ(swap.exit_code, 78);
  EXPECT_THAT(swap.output, HasSubstr("no reward server answers at 127.0.0.1:1"));
  EXPECT_EQ(cluster.WaitForStatus([](const v1::Status&) { return true; }).reward_spec().version(), 1);
}

}  // namespace
}  // namespace flowawr
