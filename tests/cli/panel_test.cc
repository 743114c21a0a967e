#include "cli/panel.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/text_lines.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

v1::Status Running() {
  v1::Status status;
  status.set_name("tiny-ocr");
  status.set_phase(v1::RUNNING);
  status.set_update(15);
  status.set_updates_total(60);
  status.set_reward_mean(0.4125);
  status.set_elapsed_s(3723);
  status.set_remaining_s(67);
  status.set_samples_accepted(1920);
  (*status.mutable_dropped())["stale"] = 2;
  status.mutable_base()->set_reward_mean(0.25);
  status.mutable_latest()->set_update(10);
  status.mutable_latest()->set_reward_mean(0.5);
  status.mutable_latest()->set_reward_stderr(0.02);
  status.mutable_latest()->set_exact_share(0.125);
  status.add_actors()->set_actor_id("actor-0");
  status.mutable_actors(0)->set_seconds_since_seen(12);
  return status;
}

TEST(PanelTest, ShowsProgressRewardsAndActors) {
  const std::string panel = absl::StrJoin(RenderPanel(Running(), 100), "\n");
  EXPECT_THAT(panel, HasSubstr("tiny-ocr  running"));
  EXPECT_THAT(panel, HasSubstr("1:02:03, about 1:07 left"));
  EXPECT_THAT(panel, HasSubstr("15 of 60"));
  EXPECT_THAT(panel, HasSubstr("base     held-out reward 0.250"));
  EXPECT_THAT(panel, HasSubstr("now      held-out reward 0.500 ± 0.020, exact 12.5% (update 10)"));
  EXPECT_THAT(panel, HasSubstr("dropped: 2 stale"));
  EXPECT_THAT(panel, HasSubstr("silent for 12 s"));
}

std::string LineWith(const std::vector<std::string>& lines, const std::string& text) {
  for (const std::string& line : lines)
    if (absl::StrContains(line, text)) return line;
  return "";
}

TEST(PanelTest, ColoursWhatIsToBeSeenAndOnlyWhenAskedTo) {
  v1::Status status = Running();
  status.mutable_actors(0)->set_seconds_since_seen(60);
  status.add_warnings("a reward is missing");
  const std::vector<std::string> lines = RenderPanel(status, 100, {.has_colour = true});
  EXPECT_THAT(LineWith(lines, "silent for 60 s"), AllOf(HasSubstr("\x1b[31m"), HasSubstr("\x1b[0m")));
  EXPECT_THAT(LineWith(lines, "a reward is missing"), HasSubstr("\x1b[33m"));
  EXPECT_THAT(LineWith(lines, "now      held-out"), HasSubstr("\x1b[32m"));
  EXPECT_THAT(LineWith(lines, "samples"), Not(HasSubstr("\x1b")));
  status.set_phase(v1::PAUSED);
  EXPECT_THAT(LineWith(RenderPanel(status, 100, {.has_colour = true}), "paused"), HasSubstr("\x1b[33m"));
  EXPECT_THAT(absl::StrJoin(RenderPanel(status, 100), "\n"), Not(HasSubstr("\x1b")));
}

// What colours say words say, too.
TEST(PanelTest, IsTheSameTextWithoutColour) {
  const v1::Status status = Running();
  std::string coloured = absl::StrJoin(RenderPanel(status, 60, {.has_colour = true}), "\n");
  for (const char* sequence : {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"})
    coloured = absl::StrReplaceAll(coloured, {{sequence, ""}});
  EXPECT_EQ(coloured, absl::StrJoin(RenderPanel(status, 60), "\n"));
}

TEST(PanelTest, ShowsWhichWayTheRewardGoes) {
  RewardTrend trend;
  for (int update = 1; update <= 20; ++update) trend.Add(update, 0.02 * update, 1);
  const std::string line = LineWith(RenderPanel(Running(), 100, {.trend = &trend}), "trend");
  EXPECT_THAT(line, AllOf(HasSubstr("▁"), HasSubstr("█ ↑ rising, 0.020 to 0.400 since update 1")));
  const RewardTrend nothing;
  EXPECT_EQ(LineWith(RenderPanel(Running(), 100, {.trend = &nothing}), "trend"), "");
}

TEST(PanelTest, FillsTheBarByTheShareOfUpdates) {
  v1::Status status = Running();
  const auto full_blocks = [&] {
    const std::string panel = absl::StrJoin(RenderPanel(status, 70), "\n");
    int count = 0;
    for (size_t at = 0; (at = panel.find("█", at)) != std::string::npos; at += 3) ++count;
    return count;
  };
  EXPECT_EQ(full_blocks(), 10);
  status.set_update(60);
  EXPECT_EQ(full_blocks(), 40);
}

TEST(PanelTest, ShowsHowFarAnEvaluationIs) {
  v1::Status status;
  status.set_phase(v1::EVALUATING_BASE);
  EXPECT_THAT(RenderPanel(status, 80), Not(Contains(HasSubstr("held-out"))));
  status.set_evaluation_groups(12);
  status.set_evaluation_groups_total(200);
  EXPECT_THAT(RenderPanel(status, 80), Contains(AllOf(HasSubstr("held-out"), HasSubstr("12 of 200"))));
}

TEST(PanelTest, NoLineIsWiderThanTheTerminal) {
  v1::Status status = Running();
  status.set_message(std::string(300, 'x') + "\nsecond line");
  for (int width : {20, 33, 80, 200}) {
    for (const std::string& line : RenderPanel(status, width)) {
      EXPECT_LE(DisplayColumns(line), width) << line;
      EXPECT_THAT(line, Not(HasSubstr("\n")));
    }
  }
}

TEST(PanelTest, TellsAllOfWhyARunIsPausedOnANarrowTerminalToo) {
  v1::Status status = Running();
  status.set_phase(v1::PAUSED);
  const std::string why =
      "the reward server 127.0.0.1:50052 does not answer (connection refused); start it again or name another one by "
      "`flowawr reward swap`, then `flowawr resume runs/tiny-ocr`";
  status.set_message(why);
  for (const int width : {24, 60, 80}) {
    std::string all;
    for (const std::string& line : RenderPanel(status, width)) absl::StrAppend(&all, line);
    const auto squeeze = [](const std::string& text) { return absl::StrReplaceAll(text, {{" ", ""}}); };
    EXPECT_THAT(squeeze(all), HasSubstr(squeeze(why)));
  }
}

TEST(PanelTest, SaysMissingForWhatNobodyMeasured) {
  v1::Status status = Running();
  status.clear_reward_mean();
  status.set_loss(0.5);
  status.mutable_latest()->clear_reward_mean();
  status.mutable_latest()->clear_reward_stderr();
  status.mutable_latest()->clear_exact_share();
  const std::string panel = absl::StrJoin(RenderPanel(status, 100), "\n");
  EXPECT_THAT(panel, HasSubstr("training reward missing   loss 0.5000   kl missing"));
  EXPECT_THAT(panel, HasSubstr("now      held-out reward missing (update 10)"));
}

TEST(PanelTest, TellsNoExactShareOfRewardsThatHaveNone) {
  v1::EvaluationSummary evaluation;
  evaluation.set_reward_mean(1);
  evaluation.set_reward_stderr(0);
  EXPECT_EQ(DescribeEvaluation(evaluation), "reward 1.000 ± 0.000");
}

TEST(PanelTest, SaysThatRewardsWereReplacedAndThatEarlierFiguresAreOfOthers) {
  v1::Status status = Running();
  status.mutable_reward_spec()->set_version(1);
  EXPECT_THAT(RenderPanel(status, 200), Not(Contains(HasSubstr("rewards"))));
  status.mutable_reward_spec()->set_version(2);
  status.mutable_reward_spec()->add_terms()->set_scorer("jpeg");
  EXPECT_THAT(RenderPanel(status, 200),
              Contains(AllOf(HasSubstr("rewards  version 2: jpeg"), HasSubstr("earlier figures are of others"))));
}

TEST(PanelTest, TellsFromWhichUpdateNewRewardsCountUntilTheyDo) {
  v1::Status status = Running();
  status.set_update(7);
  status.mutable_reward_spec()->set_version(2);
  status.mutable_reward_spec()->set_from_update(9);
  EXPECT_THAT(RenderPanel(status, 200), Contains(HasSubstr("effective from update 9 on")));
  status.set_update(8);
  EXPECT_THAT(RenderPanel(status, 200), Not(Contains(HasSubstr("effective"))));
}

TEST(PanelTest, ShowsHowShadowsJudge) {
  v1::Status status = Running();
  v1::ShadowReward& shadow = *status.add_shadows();
  shadow.set_scorer("pickscore");
  EXPECT_THAT(RenderPanel(status, 200), Contains("  shadow   pickscore: no group could be compared yet"));
  shadow.set_groups(40);
  shadow.set_rank_correlation(0.825);
  shadow.set_best_differs(0.25);
  EXPECT_THAT(RenderPanel(status, 200), Contains("  shadow   pickscore: rank correlation 0.82 with what is trained on, "
                                                 "another best sample in 25% of 40 groups"));
}

TEST(DescribeRewardSpec, MarksShadowsOptionalAndWatchedRewards) {
  v1::RewardSpec spec;
  spec.set_version(3);
  for (const double weight : {1.0, 0.0}) {
    spec.add_terms()->set_scorer("s");
    spec.mutable_terms(spec.terms_size() - 1)->set_weight(weight);
  }
  EXPECT_EQ(DescribeRewardSpec(spec), "version 3: s weight 1 (optional), s weight 0 (shadow)");
  spec.mutable_terms(0)->set_is_required(true);
  for (v1::RewardSpecTerm& term : *spec.mutable_terms()) term.set_max_drop(.5);
  EXPECT_EQ(DescribeRewardSpec(spec), "version 3: s weight 1 (max_drop 0.5), s weight 0 (shadow, max_drop 0.5)");
}

TEST(PanelTest, ShowsWarnings) {
  v1::Status status = Running();
  status.add_warnings("the optional reward jpeg is missing");
  EXPECT_THAT(RenderPanel(status, 80), Contains("  warning: the optional reward jpeg is missing"));
}

TEST(PanelTest, ShowsTheRanksOfALearnerOfSeveral) {
  v1::Status status = Running();
  for (const auto state :
       {v1::RankStatus::READY, v1::RankStatus::READY, v1::RankStatus::LOST, v1::RankStatus::JOINING}) {
    v1::RankStatus& rank = *status.add_ranks();
    rank.set_rank(static_cast<uint32_t>(status.ranks_size() - 1));
    rank.set_state(state);
    rank.set_rows_per_s(12.34);
  }
  status.mutable_ranks(1)->set_address("10.0.0.2");
  status.mutable_ranks(1)->add_devices("cuda:0");
  status.mutable_ranks(1)->add_devices("cuda:1");
  status.mutable_ranks(3)->set_message("its seed differs");
  const std::string text = absl::StrCat(absl::StrJoin(RenderPanel(status, 100), "\n"), "\n");
  for (const char* line : {"rank 0   ready, 12.3 rows/s\n", "rank 1   ready, 12.3 rows/s, cuda:0, cuda:1 at 10.0.0.2\n",
                           "rank 2   lost\n", "rank 3   joining: its seed differs\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(PanelTest, CountsTheActorsThatDoNotFit) {
  v1::Status status = Running();
  for (int i = 0; i < 20; ++i) status.add_actors()->set_actor_id("more");
  EXPECT_EQ(RenderPanel(status, 80).back(), "  and 13 more actors");
}

TEST(ProgressLinesTest, TellsEachUpdateEvaluationAndPhaseOnce) {
  ProgressLines lines;
  v1::Status status;
  status.set_phase(v1::EVALUATING_BASE);
  EXPECT_THAT(lines.Next(status), ElementsAre("evaluating the base model"));
  EXPECT_THAT(lines.Next(status), IsEmpty());
  status.set_phase(v1::RUNNING);
  status.mutable_base()->set_reward_mean(0.25);
  EXPECT_THAT(lines.Next(status), ElementsAre("base model, held-out: reward 0.250", "running"));
  status.set_update(1);
  status.mutable_latest()->set_update(1);
  EXPECT_THAT(lines.Next(status), ElementsAre(HasSubstr("update 1 of"), HasSubstr("update 1, held-out: ")));
  status.set_batch_groups(3);
  EXPECT_THAT(lines.Next(status), IsEmpty());
}

TEST(ProgressLinesTest, TellsSkippedUpdatesWarningsAndNewRewardsOnce) {
  ProgressLines lines;
  v1::Status status;
  status.mutable_reward_spec()->set_version(1);
  lines.Next(status);
  status.set_update(1);
  status.set_updates_skipped(1);
  status.set_loss(0.5);  // of an update before
  status.add_warnings("something is missing");
  status.mutable_reward_spec()->set_version(2);
  EXPECT_THAT(lines.Next(status),
              ElementsAre(AllOf(HasSubstr("skipped: all rewards"), Not(HasSubstr("loss"))),
                          "warning: something is missing", "rewards from here on: version 2: no reward"));
  EXPECT_THAT(lines.Next(status), IsEmpty());
}

TEST(ProgressLinesTest, ARunThatGoesOnDoesNotTellItsOldUpdates) {
  ProgressLines lines;
  v1::Status status;
  status.set_update(5);
  EXPECT_THAT(lines.Next(status), IsEmpty());
  status.set_update(6);
  EXPECT_THAT(lines.Next(status), ElementsAre(HasSubstr("update 6 of")));
}

}  // namespace
}  // namespace flowawr
