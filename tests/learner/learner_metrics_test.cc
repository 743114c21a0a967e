#include "learner/learner_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <filesystem>
#include <regex>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string PageOf(const v1::Status& status, const LearnerFacts& facts = {}) {
  return prometheus::TextSerializer().Serialize(MetricsOf(status, facts));
}

v1::Status WholeStatus() {
  v1::Status status;
  status.set_run_id("id");
  status.set_name("run");
  status.set_phase(v1::RUNNING);
  status.set_update(1);
  status.set_updates_total(100);
  status.set_updates_skipped(2);
  status.set_groups_accepted(3);
  status.set_samples_accepted(33);
  status.set_samples_trained(4);
  status.set_reward_mean(5);
  status.mutable_latest()->set_reward_mean(6);
  status.mutable_latest()->set_update(16);
  status.mutable_latest()->set_exact_share(.5);
  (*status.mutable_latest()->mutable_by_scorer())["ocr"] = .625;
  status.mutable_base()->set_reward_mean(2.5);
  status.set_loss(7);
  status.set_kl(17);
  status.set_grad_norm(8);
  status.set_open_leases(9);
  status.set_batch_groups(19);
  status.set_update_age_s(20);
  status.set_checkpoint_age_s(21);
  status.set_elapsed_s(22);
  status.set_equal_groups_share(.25);
  status.set_staleness_mean(1.5);
  status.set_staleness_max(2);
  (*status.mutable_energy())["least"] = -3;
  (*status.mutable_energy())["clipped_share"] = .125;
  (*status.mutable_reward_by_scorer())["ocr"] = .75;
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
  status.set_policy_version(7);
  v1::ActorStatus& actor = *status.add_actors();
  actor.set_actor_id("a-1");
  actor.set_address("10.0.0.1");
  actor.set_groups(23);
  actor.set_samples(24);
  actor.set_images_per_s(2.5);
  actor.set_seconds_since_seen(1.25);
  actor.set_adopted_version(5);
  actor.set_held_leases(3);
  (*actor.mutable_stage_seconds())["sample"] = 25;
  return status;
}

TEST(LearnerMetricsTest, ShowsEachFigureOfTheStatusUnderItsName) {
  const LearnerFacts facts{.max_staleness = 4, .groups_per_batch = 26, .fleet = {.joined = 27, .left = 28, .lost = 29},
                           .free_bytes = 30, .size_bytes = 31};
  const std::string page = PageOf(WholeStatus(), facts);
  for (const char* line :
       {"run_info{name=\"run\",run_id=\"id\"} 1", "phase{phase=\"running\"} 1", "phase{phase=\"paused\"} 0",
        "paused{cause=\"disk\"} 0", "updates_total 1", "updates_planned 100", "updates_skipped_total 2",
        "groups_accepted_total 3", "samples_accepted_total 33", "samples_trained_total 4", "reward 5",
        "heldout_reward 6", "heldout_update 16", "heldout_exact_ratio 0.5", "heldout_base_reward 2.5",
        "heldout_scorer_reward{scorer=\"ocr\"} 0.625", "scorer_reward{scorer=\"ocr\"} 0.75", "loss 7", "kl 17",
        "gradient_norm 8", "open_leases 9", "batch_groups 19", "batch_size_groups 26", "actors 1",
        "update_age_seconds 20", "checkpoint_age_seconds 21", "training_seconds_total 22", "equal_groups_ratio 0.25",
        "staleness_mean_versions 1.5", "staleness_max_versions 2", "staleness_limit_versions 4",
        "energy{figure=\"least\"} -3", "energy_clipped_ratio 0.125", "groups_dropped_total{cause=\"stale\"} 11",
        "groups_dropped_total{cause=\"duplicate\"} 12", "groups_dropped_total{cause=\"adoption_refused\"} 0",
        "reward_spec_version 14", "reward_weight{scorer=\"ocr\"} -0.5", "shadow_groups{scorer=\"pick\"} 15",
        "shadow_rank_correlation{scorer=\"pick\"} 0.25", "shadow_best_differs{scorer=\"pick\"} 0.75",
        "shadow_rank_correlation{scorer=\"mute\"} Nan", "stage_seconds_total{stage=\"train\"} 13.5",
        "actors_joined_total 27", "actors_left_total 28", "actors_lost_total 29", "run_directory_free_bytes 30",
        "run_directory_size_bytes 31", "actor_info{actor=\"a-1\",address=\"10.0.0.1\"} 1",
        "actor_groups_total{actor=\"a-1\"} 23", "actor_samples_total{actor=\"a-1\"} 24",
        "actor_images_per_second{actor=\"a-1\"} 2.5", "actor_silence_seconds{actor=\"a-1\"} 1.25",
        "actor_version_lag{actor=\"a-1\"} 2", "actor_held_leases{actor=\"a-1\"} 3",
        "actor_stage_seconds_total{actor=\"a-1\",stage=\"sample\"} 25"})
    EXPECT_THAT(page, HasSubstr(absl::StrCat("\nflowawr_learner_", line, "\n")));
  EXPECT_THAT(page, HasSubstr("# TYPE flowawr_learner_updates_total counter"));
  EXPECT_THAT(page, HasSubstr("# TYPE flowawr_learner_reward gauge"));
}

TEST(LearnerMetricsTest, ShowsNoZeroForWhatNobodyMeasured) {
  v1::Status status;
  status.mutable_latest()->set_update(3);
  const std::string page = PageOf(status, {.age_s = 12});
  for (const char* name : {"reward", "heldout_reward", "loss", "kl", "gradient_norm", "equal_groups_ratio",
                           "staleness_max_versions", "remaining_seconds", "run_directory_free_bytes"})
    EXPECT_THAT(page, HasSubstr(absl::StrCat("flowawr_learner_", name, " Nan\n")));
  // Ages grow from the beginning, so that an alert hears of a run that never makes its first update.
  EXPECT_THAT(page, HasSubstr("flowawr_learner_update_age_seconds 12\n"));
}

TEST(LearnerMetricsTest, ShowsEveryRanksState) {
  EXPECT_THAT(PageOf(WholeStatus()), Not(HasSubstr("flowawr_learner_rank_")));
  v1::Status status;
  for (const auto state : {v1::RankStatus::READY, v1::RankStatus::LOST, v1::RankStatus::JOINING}) {
    v1::RankStatus& rank = *status.add_ranks();
    rank.set_rank(static_cast<uint32_t>(status.ranks_size() - 1));
    rank.set_state(state);
  }
  status.mutable_ranks(0)->set_rows_per_s(1.5);
  const std::string page = PageOf(status);
  for (const char* line : {"state{rank=\"0\",state=\"ready\"} 1", "state{rank=\"0\",state=\"lost\"} 0",
                           "state{rank=\"1\",state=\"lost\"} 1", "state{rank=\"1\",state=\"ready\"} 0",
                           "state{rank=\"2\",state=\"joining\"} 1", "rows_per_second{rank=\"0\"} 1.5",
                           "rows_per_second{rank=\"1\"} Nan"})
    EXPECT_THAT(page, HasSubstr(absl::StrCat("\nflowawr_learner_rank_", line, "\n")));
}

TEST(LearnerMetricsTest, TellsWhyTheRunIsPaused) {
  v1::Status status;
  status.set_phase(v1::PAUSED);
  status.set_pause_cause("disk");
  std::string page = PageOf(status);
  EXPECT_THAT(page, HasSubstr("flowawr_learner_paused{cause=\"disk\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("flowawr_learner_paused{cause=\"operator\"} 0\n"));
  status.set_pause_cause("something new");
  EXPECT_THAT(PageOf(status), HasSubstr("flowawr_learner_paused{cause=\"other\"} 1\n"));
}

// Labels are bounded: whatever an actor says, there are no more series for it.
TEST(LearnerMetricsTest, ShowsCausesThatItDoesNotKnowTogether) {
  v1::Status status;
  (*status.mutable_dropped())["made up"] = 2;
  (*status.mutable_dropped())["made up, too"] = 3;
  EXPECT_THAT(PageOf(status), HasSubstr("flowawr_learner_groups_dropped_total{cause=\"other\"} 5\n"));
}

// A counter that begins above 0 grew unseen: every cause that the learner counts is there from the beginning.
TEST(LearnerMetricsTest, KnowsEveryCauseThatTheSourcesName) {
  const std::string page = PageOf(v1::Status());
  static const std::regex drop(R"re((?:Drop\(|CountDrop\(|cause = (?:std::isfinite\(value\) \? )?)"(\w+)")re"),
      refusal(R"re(^ +"(\w+)"\};$)re", std::regex::multiline);
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("learner")) {
    if (entry.path().extension() != ".cc" || entry.path().filename() == "learner_metrics.cc") continue;
    const std::string source = ReadFile(entry.path().string()).value();
    for (const std::regex* pattern : {&drop, &refusal})
      for (std::sregex_iterator it(source.begin(), source.end(), *pattern), end; it != end; ++it, ++found)
        EXPECT_THAT(page, HasSubstr(absl::StrCat("{cause=\"", (*it)[1].str(), "\"} 0"))) << entry.path();
  }
  EXPECT_GT(found, 15);
}

TEST(LearnerMetricsTest, ShowsActorsUpToABound) {
  v1::Status status;
  for (int i = 0; i < kMostActorsShown + 8; ++i) status.add_actors()->set_actor_id(absl::StrCat("actor-", i));
  const std::string page = PageOf(status);
  EXPECT_THAT(page, HasSubstr(absl::StrCat("flowawr_learner_actors ", kMostActorsShown + 8, "\n")));
  EXPECT_THAT(page, HasSubstr(absl::StrCat("actor=\"actor-", kMostActorsShown - 1, "\"")));
  EXPECT_THAT(page, Not(HasSubstr(absl::StrCat("actor=\"actor-", kMostActorsShown, "\""))));
}

// The page itself is read over HTTP in metrics_test.cc.
TEST(LearnerMetricsTest, MayEndBeforeItsServerAndItsDesk) {
  auto server = MetricsServer::Start("127.0.0.1:0", "learner");
  ASSERT_TRUE(server.ok()) << server.status();
  const SmallDesk desk;
  { const LearnerMetrics metrics(**server, desk.board, desk.leases, v1::RolloutConfig(), "."); }
  const LearnerMetrics again(**server, desk.board, desk.leases, v1::RolloutConfig(), ".");
}

}  // namespace
}  // namespace flowawr
