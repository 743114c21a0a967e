#include "cli/compare.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Evaluated at updates 0, 10, 20, ...; 100 images and 5 seconds an update.
ComparedRun MakeRun(const std::string& name, const std::vector<double>& heldout, const std::string& scorer = "ocr") {
  ComparedRun run{.name = name};
  for (size_t i = 0; i < heldout.size(); ++i) {
    EvaluationRecord record;
    record.update = 10 * i;
    record.reward_mean = heldout[i];
    record.elapsed_s = 50.0 * i;
    record.is_final = i + 1 == heldout.size();
    run.history.evaluations.push_back(record);
  }
  for (uint64_t update = 1; update <= 10 * (heldout.size() - 1); ++update) {
    UpdateRecord record;
    record.update = update;
    record.reward_mean = 0.5;
    record.elapsed_s = 5.0 * update;
    record.samples_trained = 100 * update;
    run.history.updates.push_back(record);
  }
  run.config.emplace();
  run.config->set_name(name);
  run.config->mutable_rewards()->add_terms()->set_scorer(scorer);
  run.config->mutable_rewards()->mutable_terms(0)->set_weight(1);
  return run;
}

TEST(CompareTest, TellsWhatARunNeededToReachAReward) {
  const ComparedRun run = MakeRun("a", {0.2, 0.6, 0.55, 0.9});
  const std::optional<Reached> reached = FirstReached(run.history, 0.56);
  ASSERT_TRUE(reached.has_value());
  EXPECT_EQ(reached->update, 10);
  EXPECT_EQ(reached->images, 1000);
  EXPECT_EQ(reached->seconds, 50);
  EXPECT_FALSE(FirstReached(run.history, 0.95).has_value());
  EXPECT_EQ(FirstReached(run.history, 0.1)->update, 0);
}

TEST(CompareTest, AsksForSharesOfTheBestGain) {
  EXPECT_THAT(DefaultThresholds({MakeRun("a", {0.2, 0.6}), MakeRun("b", {0.3, 1.2})}), ElementsAre(0.7, 1.1));
  EXPECT_THAT(DefaultThresholds({MakeRun("a", {0.5, 0.5})}), IsEmpty());
  EXPECT_THAT(DefaultThresholds({MakeRun("a", {0.2, 0.6}), MakeRun("b", {0.2, 9}, "jpeg")}), IsEmpty()) << "not the same reward";
}

TEST(CompareTest, NamesTheSettingsThatDiffer) {
  ComparedRun a = MakeRun("a", {0.2, 0.6}), b = MakeRun("b", {0.2, 0.7});
  a.config->set_run_dir("runs/a");
  b.config->set_run_dir("runs/b");
  b.config->set_seed(2);
  a.config->mutable_lora()->set_rank(32);
  b.config->mutable_lora()->set_rank(8);
  const std::vector<DifferingSetting> settings = DifferingSettings({a, b});
  ASSERT_EQ(settings.size(), 2);
  EXPECT_EQ(settings[0].field, "lora.rank");
  EXPECT_THAT(settings[0].values, ElementsAre("32", "8"));
  EXPECT_EQ(settings[1].field, "seed");
  EXPECT_THAT(settings[1].values, ElementsAre("0", "2"));
}

TEST(CompareTest, SaysWhenRewardsAreNotTheSame) {
  const std::string text = CompareAsText({MakeRun("a", {0.2, 0.6}), MakeRun("b", {0.2, 9}, "jpeg")}, {});
  EXPECT_THAT(text, HasSubstr("not trained on the same rewards"));
  EXPECT_THAT(text, HasSubstr("b: jpeg weight 1"));
  ComparedRun unknown = MakeRun("c", {0.2, 0.7});
  unknown.config.reset();
  EXPECT_THAT(CompareAsText({MakeRun("a", {0.2, 0.6}), unknown}, {}), HasSubstr("It is not known whether"));
  ComparedRun swapped = MakeRun("b", {0.2, 0.7});
  swapped.history.swaps.push_back({5, "ocr weight 1", "jpeg weight 1"});
  EXPECT_THAT(CompareAsText({MakeRun("a", {0.2, 0.6}), swapped}, {}), HasSubstr("after update 5 jpeg weight 1"));
  EXPECT_THAT(CompareAsText({MakeRun("a", {0.2, 0.6}), MakeRun("b", {0.2, 0.7})}, {}), Not(HasSubstr("not trained on the same")));
}

TEST(CompareTest, PutsTheRunsIntoATable) {
  const std::string text = CompareAsText({MakeRun("short", {0.2, 0.6}), MakeRun("a-long-name", {0.2, 0.6, 0.9})}, {0.8});
  EXPECT_EQ(text,
            "Run          Updates  Images  Training  Base   Held out  Exact\n"
            "short        10       1000    50 s      0.200  0.600     –\n"
            "a-long-name  20       2000    100 s     0.200  0.900     –\n"
            "\n"
            "Run          To 0.8\n"
            "short        not reached\n"
            "a-long-name  update 20, 2000 images, 100 s\n");
}

TEST(CompareTest, DrawsEveryRunOnThePageAndEscapesItsName) {
  const std::string html = CompareAsHtml({MakeRun("<a>", {0.2, 0.6}), MakeRun("b", {0.2, 0.7})}, {0.4});
  EXPECT_THAT(html, AllOf(HasSubstr("&lt;a&gt;"), Not(HasSubstr("<a>")), HasSubstr("--series-2")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
}

TEST(CompareTest, LetsNoNameMoveTheCursor) {
  EXPECT_THAT(CompareAsText({MakeRun("a\x1b[2J", {0.2, 0.6}), MakeRun("b", {0.2, 0.7})}, {}), Not(HasSubstr("\x1b")));
}

TEST(DistinctNames, TakeAsMuchOfThePathAsTellsThemApart) {
  EXPECT_THAT(DistinctNames({"/runs/a", "/runs/b"}), ElementsAre("a", "b"));
  EXPECT_THAT(DistinctNames({"/x/run", "/y/run"}), ElementsAre("x/run", "y/run"));
  EXPECT_THAT(DistinctNames({"/x/run", "/x/run"}), ElementsAre("x/run", "x/run"));
}

}  // namespace
}  // namespace flowawr
