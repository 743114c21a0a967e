#include "learner/learner_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::string PageOf(const v1::Status& status) { return prometheus::TextSerializer().Serialize(MetricsOf(status)); }

TEST(LearnerMetricsTest, ShowsEachFigureOfTheStatusUnderItsName) {
  v1::Status status;
  status.set_update(1);
  status.set_updates_skipped(2);
  status.set_groups_accepted(3);
  status.set_samples_trained(4);
  status.set_reward_mean(5);
  status.mutable_latest()->set_reward_mean(6);
  status.set_loss(7);
  status.set_grad_norm(8);
  status.set_open_leases(9);
  for (int i = 0; i < 10; ++i) status.add_actors();
  (*status.mutable_dropped())["stale"] = 11;
  (*status.mutable_dropped())["duplicate"] = 12;
  (*status.mutable_learner_seconds())["train"] = 13.5;
  status.mutable_reward_spec()->set_version(14);
  status.mutable_reward_spec()->add_terms()->set_scorer("ocr");
  status.mutable_reward_spec()->mutable_terms(0)->set_weight(-0.5);
  v1::ShadowReward& shadow = *status.add_shadows();
  shadow.set_scorer("pick");
  shadow.set_groups(15);
  shadow.set_rank_correlation(0.25);
  shadow.set_best_differs(0.75);
  status.add_shadows()->set_scorer("mute");
  const std::string page = PageOf(status);
  for (const char* line :
       {"flowawr_learner_updates_total 1\n", "flowawr_learner_updates_skipped_total 2\n",
        "flowawr_learner_groups_accepted_total 3\n", "flowawr_learner_samples_trained_total 4\n",
        "flowawr_learner_reward 5\n", "flowawr_learner_heldout_reward 6\n", "flowawr_learner_loss 7\n",
        "flowawr_learner_gradient_norm 8\n", "flowawr_learner_open_leases 9\n", "flowawr_learner_actors 10\n",
        "flowawr_learner_groups_dropped_total{cause=\"stale\"} 11\n",
        "flowawr_learner_groups_dropped_total{cause=\"duplicate\"} 12\n",
        "flowawr_learner_reward_spec_version 14\n", "flowawr_learner_reward_weight{scorer=\"ocr\"} -0.5\n",
        "flowawr_learner_shadow_groups{scorer=\"pick\"} 15\n",
        "flowawr_learner_shadow_rank_correlation{scorer=\"pick\"} 0.25\n",
        "flowawr_learner_shadow_best_differs{scorer=\"pick\"} 0.75\n",
        "flowawr_learner_shadow_rank_correlation{scorer=\"mute\"} Nan\n",
        "flowawr_learner_stage_seconds_total{stage=\"train\"} 13.5\n", "# TYPE flowawr_learner_updates_total counter",
        "# TYPE flowawr_learner_reward gauge"})
    EXPECT_THAT(page, HasSubstr(line));
}

TEST(LearnerMetricsTest, ShowsNoZeroForWhatNobodyMeasured) {
  v1::Status status;
  status.mutable_latest()->set_update(3);
  const std::string page = PageOf(status);
  for (const char* name : {"reward", "heldout_reward", "loss", "gradient_norm"})
    EXPECT_THAT(page, HasSubstr(absl::StrCat("flowawr_learner_", name, " Nan\n")));
}

// The page itself is read over HTTP in metrics_test.cc.
TEST(LearnerMetricsTest, MayEndBeforeItsServerAndItsDesk) {
  auto server = MetricsServer::Start("127.0.0.1:0", "learner");
  ASSERT_TRUE(server.ok()) << server.status();
  const Desk desk(SmallDeskOptions());
  { const LearnerMetrics metrics(**server, desk); }
  const LearnerMetrics again(**server, desk);
}

}  // namespace
}  // namespace flowawr
