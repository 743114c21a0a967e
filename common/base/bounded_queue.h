// A first-in first-out queue of at most `capacity` items between the threads of two stages.
//
// Thread-safe. Close() wakes everybody: Push() then refuses, Pop() still hands out what is left and ends with nullopt.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"

namespace flowawr {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Waits for room. False, and `item` untouched, once closed.
  bool Push(T&& item) {
    absl::MutexLock lock(&mutex_);
    while (!is_closed_ && items_.size() >= capacity_) has_room_.Wait(&mutex_);
    if (is_closed_) return false;
    Add(std::move(item));
    return true;
  }

  // False at once, and `item` untouched, when full or closed.
  bool TryPush(T&& item) {
    absl::MutexLock lock(&mutex_);
    if (is_closed_ || items_.size() >= capacity_) return false;
    Add(std::move(item));
    return true;
  }

  // Waits for an item; nullopt once closed and empty.
  std::optional<T> Pop() { return PopWithTimeout(absl::InfiniteDuration()); }

  // As Pop(), but nullopt also when `timeout` passes first.
  std::optional<T> PopWithTimeout(absl::Duration timeout) {
    const absl::Time until = MonotonicNow() + timeout;
    absl::MutexLock lock(&mutex_);
    while (!is_closed_ && items_.empty() && MonotonicNow() < until)
      has_item_.WaitWithTimeout(&mutex_, until - MonotonicNow());
    if (items_.empty()) return std::nullopt;
    std::optional<T> item = std::move(items_.front());
    items_.pop_front();
    has_room_.Signal();
    return item;
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    is_closed_ = true;
    has_room_.SignalAll();
    has_item_.SignalAll();
  }

  size_t size() const {
    absl::MutexLock lock(&mutex_);
    return items_.size();
  }

 private:
  void Add(T&& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    items_.push_back(std::move(item));
    has_item_.Signal();
  }

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  SteadyCondVar has_room_, has_item_;
  std::deque<T> items_ ABSL_GUARDED_BY(mutex_);
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
