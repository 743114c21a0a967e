// Every training method as users run it: real processes, from the rollout that it asks for to the adapter that it
// makes.
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/system/cluster.h"

namespace flowawr {
namespace {

using ::testing::Contains;
using ::testing::Key;
using ::testing::Pair;

class SystemMethods : public ::testing::TestWithParam<const char*> {};

std::vector<std::string> Settings(const std::string& method) {
  return {absl::StrCat("algorithm.", method, "={}"), "sampler.solver=euler", "sampler.steps=4", "train.updates=3",
          "algorithm.updates_per_batch=2"};
}

TEST_P(SystemMethods, TrainsFromTheGroupsThatItAskedFor) {
  Cluster cluster(Settings(GetParam()));
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.algorithm(), GetParam());
  EXPECT_EQ(status.updates_skipped(), 0);
  EXPECT_GT(status.grad_norm(), 0);
  EXPECT_TRUE(status.dropped().empty()) << status.DebugString();
  cluster.ExpectToFinish();
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
}

INSTANTIATE_TEST_SUITE_P(Each, SystemMethods, ::testing::Values("flow_awr", "diffusion_nft", "flow_grpo", "awm", "rwr"),
                         [](const auto& info) { return std::string(info.param); });

// Trajectories, windows drawn for each group and parts of batches, all from keys: an actor that dies changes no bit.
TEST(SystemFlowGrpo, AnActorThatIsKilledChangesNoBit) {
  std::string adapters[2];
  for (int kills = 0; kills < 2; ++kills) {
    std::vector<std::string> settings = Settings("flow_grpo");
    settings.insert(settings.end(), {"algorithm.flow_grpo.window=1", "sampler.guidance_scale=2"});
    Cluster cluster(settings);
    cluster.StartAll();
    if (kills > 0) {
      cluster.WaitForUpdate(1);
      cluster.actor("actor-0").Signal(SIGKILL);
      cluster.actor("actor-0").Wait();
      cluster.StartActor("actor-0");
    }
    const v1::Status status =
        cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
    EXPECT_THAT(status.figures(), Contains(Key("ratio")));
    EXPECT_THAT(status.figures(), Contains(Pair("log_prob_drift_greatest", ::testing::Lt(0.01))));
    cluster.ExpectToFinish();
    adapters[kills] = cluster.ExportedAdapter();
  }
  EXPECT_FALSE(adapters[0].empty());
  EXPECT_TRUE(adapters[0] == adapters[1]);
}

}  // namespace
}  // namespace flowawr
