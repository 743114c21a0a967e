#include "learner/dispatcher.h"

#include <utility>

#include "common/base/clock.h"

namespace flowawr {

Dispatcher::Dispatcher(Round round) : round_(std::move(round)), thread_([this] { Run(); }) {}

Dispatcher::~Dispatcher() {
  {
    absl::MutexLock lock(&mutex_);
    is_woken_ = is_closing_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void Dispatcher::Wake() {
  absl::MutexLock lock(&mutex_);
  is_woken_ = true;
  changed_.SignalAll();
}

void Dispatcher::Run() {
  while (true) {
    Answers answers;
    const absl::Time due = round_(answers);
    for (auto& answer : answers) answer();
    if (!answers.empty()) continue;
    absl::MutexLock lock(&mutex_);
    // A call of Wake() that came during the round was perhaps too late for it.
    while (!is_woken_ && !is_closing_ && MonotonicNow() < due)
      changed_.WaitWithTimeout(&mutex_, due - MonotonicNow());
    if (is_closing_ && !is_woken_) return;
    is_woken_ = false;
  }
}

}  // namespace flowawr
