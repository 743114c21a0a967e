// A thread that answers what waits at one part of the learner: thousands of calls wait at once, none of them in a thread.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/steady_cond_var.h"

namespace flowawr {

// Names a wait that was begun, so that it can be ended; 0: none.
using WaitTicket = uint64_t;

// Owned by the part that it serves, as its last member: it must be able to use all others. Thread-safe.
class Dispatcher {
 public:
  // Callbacks with their answers. They are called one after the other, without a lock.
  using Answers = std::vector<absl::AnyInvocable<void()>>;
  // Adds what is due by now, and returns when something falls due though nobody calls Wake(), on the scale of
  // MonotonicNow(). Called by the thread, without a lock, again and again until nothing is due.
  using Round = std::function<absl::Time(Answers&)>;

  explicit Dispatcher(Round round);
  // After a last round without answers.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Something may be due. May be called with the owner's lock held: the one here comes after all others.
  void Wake();

 private:
  void Run();

  const Round round_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  bool is_woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace flowawr
