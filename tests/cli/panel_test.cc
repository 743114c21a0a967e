#include "cli/panel.h"

#include <algorithm>

#include "absl/strings/str_join.h"
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
  status.mutable_latest()->set_exact_share(0.125);
  status.add_actors()->set_actor_id("actor-0");
  status.mutable_actors(0)->set_seconds_since_seen(12);
  return status;
}

int Columns(const std::string& line) {
  return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST(PanelTest, ShowsProgressRewardsAndActors) {
  const std::string panel = absl::StrJoin(RenderPanel(Running(), 100), "\n");
  EXPECT_THAT(panel, HasSubstr("tiny-ocr  running"));
  EXPECT_THAT(panel, HasSubstr("1:02:03, about 1:07 left"));
  EXPECT_THAT(panel, HasSubstr("15 of 60"));
  EXPECT_THAT(panel, HasSubstr("base     held-out reward 0.250"));
  EXPECT_THAT(panel, HasSubstr("now      held-out reward 0.500 ± 0.000, exact 12.5% (update 10)"));
  EXPECT_THAT(panel, HasSubstr("dropped: 2 stale"));
  EXPECT_THAT(panel, HasSubstr("silent for 12 s"));
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
      EXPECT_LE(Columns(line), width) << line;
      EXPECT_THAT(line, Not(HasSubstr("\n")));
    }
  }
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
  EXPECT_THAT(lines.Next(status), ElementsAre("base model, held-out: reward 0.250 ± 0.000, exact 0.0%", "running"));
  status.set_update(1);
  status.mutable_latest()->set_update(1);
  EXPECT_THAT(lines.Next(status), ElementsAre(HasSubstr("update 1 of"), HasSubstr("update 1, held-out: ")));
  status.set_batch_groups(3);
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
