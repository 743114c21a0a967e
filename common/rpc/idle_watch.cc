#include "common/rpc/idle_watch.h"

#include "common/base/clock.h"

namespace flowawr {

IdleWatch::Call::Call(IdleWatch& watch, grpc::CallbackServerContext& context)
    : watch_(watch), context_(context), since_(absl::InfiniteFuture()) {
  absl::MutexLock lock(&watch_.mutex_);
  watch_.calls_.insert(this);
}

IdleWatch::Call::~Call() {
  absl::MutexLock lock(&watch_.mutex_);
  watch_.calls_.erase(this);
}

void IdleWatch::Call::Begin() {
  absl::MutexLock lock(&watch_.mutex_);
  since_ = MonotonicNow();
}

void IdleWatch::Call::End() {
  absl::MutexLock lock(&watch_.mutex_);
  since_ = absl::InfiniteFuture();
}

IdleWatch::IdleWatch(absl::Duration limit) : limit_(limit), thread_([this] { Run(); }) {}

IdleWatch::~IdleWatch() {
  {
    absl::MutexLock lock(&mutex_);
    is_closing_ = true;
    closing_.SignalAll();
  }
  thread_.join();
}

void IdleWatch::Run() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (!is_closing_) closing_.WaitWithTimeout(&mutex_, limit_ / 4);
    if (is_closing_) return;
    const absl::Time oldest = MonotonicNow() - limit_;
    for (Call* call : calls_) {
      if (call->since_ > oldest) continue;
      call->since_ = absl::InfiniteFuture();
      ++cancelled_;
      call->context_.TryCancel();  // only marks the call: its reactor hears of it in another thread
    }
  }
}

}  // namespace flowawr
