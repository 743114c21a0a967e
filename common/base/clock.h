// Time as a dependency, so that whatever depends on it can be tested without waiting.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace flowawr {

// For every interval: leases, timeouts, backoff, elapsed time. Never set, never jumps, stands still while the machine
// sleeps; no date, and means nothing to another process. absl::Now() is for dates, which people and files want, and for
// deadlines of calls, which gRPC takes as dates and turns into intervals at once.
absl::Time MonotonicNow();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // On the scale of MonotonicNow().
  virtual absl::Time Now() const = 0;

  // The machine's clock; lives for ever.
  static const Clock& Real();
};

// A clock that moves only when told to. Thread-safe.
class ManualClock : public Clock {
 public:
  explicit ManualClock(absl::Time start = absl::UnixEpoch()) : now_(start) {}
  absl::Time Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mutex_);
    now_ += by;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
