// A learner of several processes, as people start them: whatever happens to the others, the adapter has the same bytes.
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Settings(int ranks, const std::string& more = "") {
  std::vector<std::string> settings = {absl::StrCat("train.ranks=", ranks), "train.micro_batch=2", "train.updates=4",
                                       "train.rank_timeout_s=5"};
  if (!more.empty()) settings.push_back(more);
  return settings;
}

std::unique_ptr<Process> StartRank(Cluster& cluster, int rank, const std::string& config) {
  const std::string rank0 = AwaitEndpoint(cluster.run_dir() + "/endpoints/ranks", cluster.learner());
  const std::string log = cluster.NewLog(absl::StrCat("rank-", rank));
  return std::make_unique<Process>(std::vector<std::string>{SystemProgram("flowawr-learner"), "--config", config,
                                                            "--rank", absl::StrCat(rank), "--rank0", rank0},
                                   log);
}

bool IsReady(const v1::Status& status, int rank) {
  return status.ranks_size() > rank && status.ranks(rank).state() == v1::RankStatus::READY;
}

std::string AdapterOfOneRank() {
  Cluster cluster(Settings(1));
  cluster.StartAll();
  cluster.ExpectToFinish();
  return cluster.ExportedAdapter();
}

TEST(SystemRanks, AKilledAndAStoppedRankChangeNoBit) {
  const std::string wanted = AdapterOfOneRank();
  ASSERT_FALSE(wanted.empty());

  Cluster cluster(Settings(3));
  cluster.StartRewards();
  cluster.StartLearner();
  auto killed = StartRank(cluster, 1, cluster.config_path()), stopped = StartRank(cluster, 2, cluster.config_path());
  cluster.WaitForStatus([](const v1::Status& status) { return IsReady(status, 1) && IsReady(status, 2); });
  cluster.StartActor("actor-0");
  cluster.WaitForUpdate(1);
  killed->Signal(SIGKILL);
  stopped->Signal(SIGSTOP);
  const v1::Status lost = cluster.WaitForStatus([](const v1::Status& status) {
    return status.ranks_size() == 3 && status.ranks(2).state() == v1::RankStatus::LOST;
  });
  EXPECT_THAT(lost.ranks(2).message(), HasSubstr("rank 2 at 127.0.0.1 is lost"));
  stopped->Signal(SIGCONT);
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == wanted);
}

TEST(SystemRanks, ARankOfAnotherConfigurationIsRefusedByName) {
  Cluster cluster(Settings(2));
  cluster.StartRewards();
  cluster.StartLearner();
  const std::string other = cluster.folder() + "/other.yaml";
  const std::string yaml = ReadFile(cluster.config_path()).value();
  ASSERT_THAT(yaml, HasSubstr("micro_batch: 2"));
  ASSERT_TRUE(WriteFileAtomically(other, absl::StrReplaceAll(yaml, {{"micro_batch: 2", "micro_batch: 3"}})).ok());
  const auto rank = StartRank(cluster, 1, other);
  EXPECT_EQ(rank->Wait(), 78);
  EXPECT_THAT(rank->log(), HasSubstr("train.micro_batch: 2 -> 3"));
  cluster.learner().Signal(SIGTERM);
  EXPECT_EQ(cluster.learner().Wait(), 0);
}

// A `flowawr run` that is itself started within a job of several ranks, by torchrun or as a pod of an indexed job.
TEST(SystemRanks, ARunsRanksAreItsOwnWhateverTheEnvironmentSays) {
  LiveRun run({"train.ranks=2", "train.updates=1", "train.micro_batch=2", "local.actors=1", "evaluation.prompts=1",
               "evaluation.final_prompts=1"});
  const Process process(
      {"/usr/bin/env", "RANK=7", "WORLD_SIZE=9", "LOCAL_RANK=3", "LOCAL_WORLD_SIZE=4", "MASTER_ADDR=192.0.2.1",
       "JOB_COMPLETION_INDEX=5", SystemProgram("flowawr"), "run", run.folder() / "config.yaml"},
      run.folder() / "output");
  EXPECT_EQ(process.Wait(), 0) << process.log();
  EXPECT_FALSE(run.ExportedAdapter().empty());
  EXPECT_THAT(ReadFile(run.run_dir() + "/logs/rank-1.log").value(), HasSubstr("as rank 1"));
}

TEST(SystemRanks, OnlyWhoKnowsTheTokenIsARank) {
  const TempFolder tokens;
  const std::string right = tokens.Write("right", "a-token-of-this-run-alone\n");
  const std::string wrong = tokens.Write("wrong", "a-token-of-another-run\n");
  Cluster cluster(Settings(2, "network.token_file=" + right));
  cluster.StartRewards();
  cluster.StartLearner();
  const std::string other = cluster.folder() + "/other.yaml";
  ASSERT_TRUE(
      WriteFileAtomically(other, absl::StrReplaceAll(ReadFile(cluster.config_path()).value(), {{right, wrong}})).ok());
  const auto stranger = StartRank(cluster, 1, other);
  EXPECT_EQ(stranger->Wait(), 77);
  EXPECT_THAT(stranger->log(), HasSubstr("does not know rank 0's token"));
  const auto rank = StartRank(cluster, 1, cluster.config_path());
  cluster.WaitForStatus([](const v1::Status& status) { return IsReady(status, 1); });
  cluster.learner().Signal(SIGTERM);
  EXPECT_EQ(cluster.learner().Wait(), 0);
}

TEST(SystemRanks, ARankThatFindsNobodySaysAtOnceWhomItLooksForAndWhy) {
  Cluster cluster(Settings(2));
  Process rank(
      {SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--rank", "1", "--rank0", "127.0.0.1:1"},
      cluster.NewLog("rank-1"));
  EXPECT_TRUE(AwaitText(rank.log_path(), "looking for rank 0 at 127.0.0.1:1 as rank 1", rank));
  EXPECT_TRUE(AwaitText(rank.log_path(), "waiting for rank 0 at 127.0.0.1:1: 127.0.0.1:1: Connection refused", rank));
  rank.Signal(SIGTERM);
  EXPECT_EQ(rank.Wait(), 0);
}

TEST(SystemRanks, NcclWithoutCudaIsAnErrorOfTheConfiguration) {
  Cluster cluster(Settings(2, "train.rank_transport=nccl"));
  Process rank(
      {SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--rank", "1", "--rank0", "127.0.0.1:1"},
      cluster.NewLog("rank-1"));
  EXPECT_EQ(rank.Wait(), 78);
  EXPECT_THAT(rank.log(), HasSubstr("train.rank_transport: nccl: it computes on cpu; set auto or gloo"));
}

TEST(SystemRanks, OptionsThatMakeNoRankAreRefused) {
  Cluster cluster(Settings(2));
  const struct {
    const char *rank, *rank0, *says;
  } rows[] = {{"2", "127.0.0.1:1", "--rank 2: the run has 2 ranks, numbered from 0"},
              {"1", "127.0.0.1:99999", "--rank0: "},
              {"1", "127.0.0.1", "--rank0 127.0.0.1 has no port"}};
  for (const auto& [rank, rank0, says] : rows) {
    Process process(
        {SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--rank", rank, "--rank0", rank0},
        cluster.NewLog("rank"));
    EXPECT_EQ(process.Wait(), 64) << says;
    EXPECT_THAT(process.log(), HasSubstr(says));
  }
}

}  // namespace
}  // namespace flowawr
