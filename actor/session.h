// Whether the learner knows this actor: numbered spells between a registration and the loss of the connection.
//
// Several threads notice the same loss, some late; the number tells whether they speak of this spell or of one that is
// over. Thread-safe.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"

namespace flowawr {

class Session {
 public:
  // Registered (again): a new spell begins.
  void Begin() {
    absl::MutexLock lock(&mutex_);
    ++number_;
    is_live_ = true;
    changed_.SignalAll();
  }

  // The connection of spell `number` broke. No effect when that spell is over already.
  void Lose(uint64_t number) {
    absl::MutexLock lock(&mutex_);
    if (number == number_) is_live_ = false;
  }

  bool is_live() const {
    absl::MutexLock lock(&mutex_);
    return is_live_;
  }

  // 0 before the first.
  uint64_t number() const {
    absl::MutexLock lock(&mutex_);
    return number_;
  }

  // Waits for a live spell; false when `timeout` passes first.
  bool AwaitLive(absl::Duration timeout) const {
    const absl::Time until = MonotonicNow() + timeout;
    absl::MutexLock lock(&mutex_);
    while (!is_live_ && MonotonicNow() < until) changed_.WaitWithTimeout(&mutex_, until - MonotonicNow());
    return is_live_;
  }

 private:
  mutable absl::Mutex mutex_;
  mutable SteadyCondVar changed_;
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_live_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
