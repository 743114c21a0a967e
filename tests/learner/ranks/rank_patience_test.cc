#include "learner/ranks/rank_patience.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

TEST(PatienceWithAMicroBatch, IsTheTimeoutUnlessMicroBatchesTakeLongThemselves) {
  const absl::Duration timeout = absl::Seconds(60);
  EXPECT_EQ(PatienceWithAMicroBatch(timeout, absl::Milliseconds(300)), timeout);
  EXPECT_EQ(PatienceWithAMicroBatch(timeout, absl::Seconds(15)), timeout);
  EXPECT_EQ(PatienceWithAMicroBatch(timeout, absl::Seconds(90)), absl::Minutes(6));
}

TEST(PatienceWithAMicroBatch, NobodyIsJudgedBeforeRankZeroHasFinishedOne) {
  EXPECT_EQ(PatienceWithAMicroBatch(absl::Seconds(60), absl::ZeroDuration()), absl::InfiniteDuration());
}

}  // namespace
}  // namespace flowawr
