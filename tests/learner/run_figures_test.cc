#include "learner/run_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::Pair;

class RunFiguresTest : public testing::Test {
 protected:
  double Shown(const std::string& stage) { return board_.status().learner_seconds().at(stage); }

  ManualClock clock_;
  StatusBoard board_{&clock_};
  RunFigures figures_{/*elapsed_before=*/50, &board_, &clock_};
};

// So that a board sees a run loop that waits while it waits, not once it is over.
TEST_F(RunFiguresTest, CountsAStageWhileItGoesOn) {
  figures_.BeginStage("wait");
  clock_.Advance(absl::Seconds(3));
  EXPECT_THAT(Shown("wait"), DoubleEq(3));
  clock_.Advance(absl::Seconds(1));
  figures_.EndStage();
  figures_.BeginStage("train");
  clock_.Advance(absl::Seconds(2));
  figures_.EndStage();
  clock_.Advance(absl::Seconds(5));
  figures_.BeginStage("wait");
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(Shown("wait"), DoubleEq(5));
  EXPECT_THAT(Shown("train"), DoubleEq(2));
}

TEST_F(RunFiguresTest, TellsTheSecondsOfEachStageSinceTheyWereTakenLast) {
  figures_.BeginStage("wait");
  clock_.Advance(absl::Seconds(4));
  figures_.EndStage();
  EXPECT_THAT(figures_.TakeStageSeconds(), ElementsAre(Pair("wait", 4)));
  figures_.BeginStage("train");
  clock_.Advance(absl::Seconds(2));
  figures_.EndStage();
  EXPECT_THAT(figures_.TakeStageSeconds(), ElementsAre(Pair("train", 2), Pair("wait", 0)));
  EXPECT_THAT(Shown("wait"), DoubleEq(4)) << "the board shows them all";
}

TEST_F(RunFiguresTest, LeavesPausesOutOfTheTimeThatTheRunNeeded) {
  clock_.Advance(absl::Seconds(100));
  EXPECT_THAT(figures_.elapsed_s(), DoubleEq(150));
  for (const double before : {150.0, 157.0}) {
    figures_.BeginPause();
    clock_.Advance(absl::Hours(10));
    EXPECT_THAT(figures_.elapsed_s(), DoubleEq(before));
    figures_.EndPause();
    clock_.Advance(absl::Seconds(7));
    EXPECT_THAT(figures_.elapsed_s(), DoubleEq(before + 7));
  }
}

}  // namespace
}  // namespace flowawr
