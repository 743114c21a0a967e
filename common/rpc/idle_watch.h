// Ends calls whose peer lets the server wait: one that opens a stream and sends nothing, or does not read what it is
// sent. A peer that is gone altogether is found out by keepalive pings.
#pragma once

#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/steady_cond_var.h"
#include "grpcpp/server_context.h"

namespace flowawr {

// Owns a thread that looks at the calls. Thread-safe; must outlive its calls.
class IdleWatch {
 public:
  // A call that waits for its peer for `limit`, or up to a quarter longer, is cancelled.
  explicit IdleWatch(absl::Duration limit);
  ~IdleWatch();
  IdleWatch(const IdleWatch&) = delete;
  IdleWatch& operator=(const IdleWatch&) = delete;

  // Calls that were cancelled so far.
  int cancelled() const {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }

  // A part of a call's reactor.
  class Call {
   public:
    Call(IdleWatch& watch, grpc::CallbackServerContext& context);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // From now on it is the peer's turn.
    void Begin();
    // It did what it had to.
    void End();

   private:
    friend class IdleWatch;
    IdleWatch& watch_;
    grpc::CallbackServerContext& context_;
    absl::Time since_;  // InfiniteFuture: not the peer's turn
  };

 private:
  void Run();

  const absl::Duration limit_;
  mutable absl::Mutex mutex_;
  std::set<Call*> calls_ ABSL_GUARDED_BY(mutex_);  // `since_` of each as well
  int cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  SteadyCondVar closing_;
  std::thread thread_;
};

}  // namespace flowawr
