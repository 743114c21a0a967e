#include "common/base/steady_cond_var.h"

#include <gtest/gtest.h>

#include <thread>

#include "common/base/clock.h"

namespace flowawr {
namespace {

// Nothing but the time ends it; that of day takes no part in it (tests/system/clock_test.cc moves it).
TEST(SteadyCondVarTest, AWaitEndsWhenItsTimeIsOver) {
  absl::Mutex mutex;
  SteadyCondVar changed;
  const absl::Time begin = MonotonicNow();
  absl::MutexLock lock(&mutex);
  while (MonotonicNow() < begin + absl::Milliseconds(20)) changed.WaitWithTimeout(&mutex, absl::Milliseconds(20));
  EXPECT_GE(MonotonicNow() - begin, absl::Milliseconds(20));
}

TEST(SteadyCondVarTest, ASignalEndsAWaitThatHasNoEnd) {
  absl::Mutex mutex;
  SteadyCondVar changed;
  bool is_done = false;
  std::thread other([&] {
    absl::MutexLock lock(&mutex);
    is_done = true;
    changed.SignalAll();
  });
  {
    absl::MutexLock lock(&mutex);
    while (!is_done) changed.WaitWithTimeout(&mutex, absl::InfiniteDuration());
  }
  other.join();
}

TEST(SteadyNotificationTest, TellsWhetherItHappenedInTime) {
  SteadyNotification notification;
  EXPECT_FALSE(notification.WaitForNotificationWithTimeout(absl::Milliseconds(1)));
  EXPECT_FALSE(notification.HasBeenNotified());
  std::thread other([&] { notification.Notify(); });
  EXPECT_TRUE(notification.WaitForNotificationWithTimeout(absl::InfiniteDuration()));
  EXPECT_TRUE(notification.HasBeenNotified());
  other.join();
}

TEST(MonotonicNowTest, NeverGoesBack) {
  absl::Time before = MonotonicNow();
  for (int i = 0; i < 1000; ++i) {
    const absl::Time now = MonotonicNow();
    ASSERT_GE(now, before);
    before = now;
  }
}

}  // namespace
}  // namespace flowawr
