#include "actor/stage_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using ::testing::DoubleEq;

TEST(StageClockTest, CountsWhatIsUnderWayFromItsBeginning) {
  ManualClock time;
  StageClock stages(time);
  StageTimer idle(stages, "idle");
  time.Advance(absl::Seconds(30));
  EXPECT_THAT(stages.Seconds()["idle"], DoubleEq(30));
  StageTimer score(stages, "score"), beside(stages, "score");
  time.Advance(absl::Seconds(2));
  EXPECT_THAT(score.Stop(), DoubleEq(2));
  EXPECT_THAT(stages.Seconds()["score"], DoubleEq(4)) << "two at once";
  time.Advance(absl::Seconds(1));
  EXPECT_THAT(idle.Stop(), DoubleEq(33));
  EXPECT_THAT(stages.Seconds()["score"], DoubleEq(5));
  time.Advance(absl::Seconds(10));
  EXPECT_THAT(stages.Seconds()["idle"], DoubleEq(33));
}

}  // namespace
}  // namespace flowawr
