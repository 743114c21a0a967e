// A machine whose time of day is set back while a run goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/system/baseline.h"
#include "tests/system/cluster.h"

namespace flowawr {
namespace {

// An actor dies with its leases just then: they must expire after their two seconds, not after an hour and two seconds.
TEST(SystemClock, LeasesOfADeadActorExpireThoughTheClockIsSetBackByAnHour) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster;
  const std::string set_back = cluster.folder() + "/set-back";
  cluster.StartRewards();
  cluster.StartLearner(/*is_resume=*/false,
                       {"env", absl::StrCat("LD_PRELOAD=", FLOWAWR_SET_BACK_CLOCK), "FLOWAWR_SET_BACK=" + set_back});
  cluster.StartActor("actor-0");
  cluster.WaitForUpdate(1);
  cluster.WaitForStatus([](const v1::Status& status) { return status.open_leases() > 0; });
  ASSERT_TRUE(WriteFileAtomically(set_back, "").ok());
  cluster.actor("actor-0").Kill();
  cluster.StartActor("actor-1");
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  for (const auto& [stage, seconds] : status.learner_seconds()) EXPECT_GE(seconds, 0) << stage;
  EXPECT_GE(status.elapsed_s(), 0);
  for (const v1::ActorStatus& actor : status.actors()) EXPECT_GE(actor.seconds_since_seen(), 0) << actor.actor_id();
  EXPECT_EQ(cluster.learner().Wait(), 0);
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

}  // namespace
}  // namespace flowawr
