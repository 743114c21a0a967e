// Timed waits that no change of the machine's clock shortens or prolongs.
//
// Abseil's own (CondVar::WaitWithTimeout, Mutex::AwaitWithTimeout, Notification) sleep until a time of day: set the
// clock back by an hour and a wait of a second lasts an hour longer.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace flowawr {

// As absl::CondVar. Thread-safe.
class SteadyCondVar {
 public:
  void Wait(absl::Mutex* mutex) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Lockable lockable{*mutex};
    condition_.wait(lockable);
  }
  // May return early, like every wait of this kind.
  void WaitWithTimeout(absl::Mutex* mutex, absl::Duration timeout) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (timeout <= absl::ZeroDuration()) return;
    if (timeout == absl::InfiniteDuration()) return Wait(mutex);
    Lockable lockable{*mutex};
    condition_.wait_for(lockable, absl::ToChronoNanoseconds(std::min(timeout, kLongest)));
  }
  void Signal() { condition_.notify_one(); }
  void SignalAll() { condition_.notify_all(); }

 private:
  static constexpr absl::Duration kLongest = absl::Hours(24);
  struct Lockable {
    absl::Mutex& mutex;
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Unlock(); }
  };

  std::condition_variable_any condition_;
};

// As absl::Notification: happens once. Thread-safe.
class SteadyNotification {
 public:
  void Notify() {
    absl::MutexLock lock(&mutex_);
    has_happened_ = true;
    changed_.SignalAll();
  }
  bool HasBeenNotified() const {
    absl::MutexLock lock(&mutex_);
    return has_happened_;
  }
  // Whether it happened before the time was over.
  bool WaitForNotificationWithTimeout(absl::Duration timeout) const {
    const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(24)));
    absl::MutexLock lock(&mutex_);
    while (!has_happened_) {
      const absl::Duration left = absl::FromChrono(until - std::chrono::steady_clock::now());
      if (left <= absl::ZeroDuration()) break;
      changed_.WaitWithTimeout(&mutex_, left);
    }
    return has_happened_;
  }

 private:
  mutable absl::Mutex mutex_;
  mutable SteadyCondVar changed_;
  bool has_happened_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
