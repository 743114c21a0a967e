// What a call waits for at the desk, for a call whose client may go away meanwhile.
//
// The answer to a wait can end the call, and with it the reactor, before the function that began the wait has returned:
// so the ticket is kept beside the reactor, in a shared pointer. Thread-safe.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "learner/desk.h"

namespace flowawr {

class CancellableWait {
 public:
  explicit CancellableWait(Desk& desk) : desk_(desk) {}

  // A wait has begun. Ends it when the call was cancelled before.
  void Begun(Desk::Ticket ticket) {
    {
      absl::MutexLock lock(&mutex_);
      ticket_ = ticket;
      if (!is_cancelled_) return;
    }
    desk_.CancelWait(ticket);
  }

  // The client has gone: ends the wait under way, and each that begins later.
  void Cancel() {
    Desk::Ticket ticket = 0;
    {
      absl::MutexLock lock(&mutex_);
      is_cancelled_ = true;
      ticket = ticket_;
    }
    desk_.CancelWait(ticket);
  }

 private:
  Desk& desk_;
  absl::Mutex mutex_;
  Desk::Ticket ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
