// What a Job of Kubernetes sees of processes that are evicted: a failure, so that it starts them again, and 0 only when
// the run has ended.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/system/baseline.h"
#include "tests/system/cluster.h"

namespace flowawr {
namespace {

TEST(SystemEviction, WhoIsStoppedBeforeTheEndIsNotDoneAndTheNextOneIs) {
  Cluster cluster;
  cluster.StartRewards();
  cluster.AddArguments({"--fail-when-stopped"});
  cluster.StartLearner(/*is_resume=*/true);
  cluster.StartActor("actor-0");
  cluster.WaitForUpdate(1);
  cluster.actor("actor-0").Signal(SIGTERM);
  EXPECT_EQ(cluster.actor("actor-0").Wait(), 130);
  cluster.StartActor("actor-1");
  cluster.learner().Signal(SIGTERM);
  EXPECT_EQ(cluster.learner().Wait(), 130);
  cluster.StartLearner(/*is_resume=*/true);
  EXPECT_EQ(cluster.learner().Wait(), 0);
  EXPECT_EQ(cluster.actor("actor-1").Wait(), 0);
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

}  // namespace
}  // namespace flowawr
