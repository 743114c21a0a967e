// What a call waits for at a part of the learner, for a call whose client may go away meanwhile.
//
// The answer to a wait can end the call, and with it the reactor, before the function that began the wait has returned:
// so the ticket is kept beside the reactor, in a shared pointer. Thread-safe.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "learner/dispatcher.h"

namespace flowawr {

// `Part` is LeaseDesk, PolicyShelf or StatusBoard.
template <typename Part>
class CancellableWait {
 public:
  explicit CancellableWait(Part& part) : part_(part) {}

  // A wait has begun. Ends it when the call was cancelled before.
  void Begun(WaitTicket ticket) {
    {
      absl::MutexLock lock(&mutex_);
      ticket_ = ticket;
      if (!is_cancelled_) return;
    }
    part_.CancelWait(ticket);
  }

  // The client has gone: ends the wait under way, and each that begins later.
  void Cancel() {
    WaitTicket ticket = 0;
    {
      absl::MutexLock lock(&mutex_);
      is_cancelled_ = true;
      ticket = ticket_;
    }
    part_.CancelWait(ticket);
  }

 private:
  Part& part_;
  absl::Mutex mutex_;
  WaitTicket ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
