// The whole service, as real processes: a run finishes, and in strict mode it gives the same bytes whatever is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "tests/system/baseline.h"
#include "tests/system/cluster.h"

namespace flowawr {
namespace {

TEST(SystemRun, FinishesAndExports) {
  Cluster cluster;
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.update(), 6);
  EXPECT_EQ(status.samples_trained(), 6 * 2 * 4);
  EXPECT_EQ(status.base().images(), 3);
  EXPECT_EQ(status.actors_size(), 2);
  // By themselves: the learner has told them.
  for (const char* name : {"actor-0", "actor-1"}) EXPECT_EQ(cluster.actor(name).Wait(), 0) << name;
  cluster.ExpectToFinish();
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
  for (const char* name : {"export/pytorch_lora_weights.safetensors", "metrics.jsonl", "images/base/000.png",
                           "images/final/000.png", "images/final/000.json"})
    EXPECT_TRUE(std::filesystem::exists(cluster.run_dir() + "/" + name)) << name;
}

TEST(SystemRun, GivesTheSameBytesForTheSameSeedAndOthersForAnother) {
  Cluster again;
  again.StartAll();
  again.ExpectToFinish();
  ASSERT_FALSE(BaselineAdapter().empty());
  EXPECT_TRUE(again.ExportedAdapter() == BaselineAdapter());
  Cluster other({"seed=2"});
  other.StartAll();
  other.ExpectToFinish();
  ASSERT_FALSE(other.ExportedAdapter().empty());
  EXPECT_FALSE(other.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, GivesTheSameBytesWithOneActorMore) {
  Cluster cluster;
  cluster.StartAll();
  cluster.StartActor("actor-2");
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, GivesTheSameBytesWhenAnActorIsKilled) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  cluster.actor("actor-0").Kill();
  cluster.WaitForUpdate(2);
  cluster.actor("actor-1").Kill();
  cluster.StartActor("actor-0");
  cluster.StartActor("actor-1");
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, GivesTheSameBytesWhenTheRewardServerIsKilled) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  cluster.rewards().Kill();
  cluster.StartRewards();
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, GivesTheSameBytesWhenTheLearnerIsKilledAndResumed) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(2);
  cluster.learner().Kill();
  cluster.StartLearner(/*is_resume=*/true);
  EXPECT_GE(cluster.WaitForStatus([](const v1::Status&) { return true; }).update(), 1);
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, GivesTheSameBytesWhenTheLearnerIsStoppedAndResumed) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  cluster.learner().Signal(SIGTERM);
  EXPECT_EQ(cluster.learner().Wait(), 0);
  cluster.StartLearner(/*is_resume=*/true);
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, StopsAnActorGracefullyWithoutLosingAGroup) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  cluster.actor("actor-0").Signal(SIGTERM);
  EXPECT_EQ(cluster.actor("actor-0").Wait(), 0);
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemRun, ReadsWordsWithOcr) {
  Cluster cluster(
      {"rewards.terms.0.scorer=ocr", "algorithm.flow_awr.energy=hard", "train.updates=1", "sampler.steps=8"});
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_GT(status.base().reward_mean(), 0);
  EXPECT_LE(status.base().reward_mean(), 1);
  cluster.ExpectToFinish();
}

}  // namespace
}  // namespace flowawr
