// How many bytes of requests and answers a server holds at once. Thread-safe.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "prometheus/gauge.h"

namespace flowawr {

class PendingBytes {
 public:
  // `gauge` shows them.
  PendingBytes(uint64_t most, prometheus::Gauge& gauge) : most_(most), gauge_(gauge) {}

  // ResourceExhausted when it is too much; the only request of all may have any size. With each OK goes one Release()
  // of the same.
  absl::Status Reserve(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    if (used_ > 0 && used_ + bytes > most_)
      return absl::ResourceExhaustedError(absl::StrCat("requests of ", used_ >> 20, " MiB wait already; at most ",
                                                       most_ >> 20, " are held (--max-pending-mib); ask again later"));
    Change(static_cast<int64_t>(bytes));
    return absl::OkStatus();
  }
  // An answer is there, and takes the place of its request: never refused.
  void Replace(uint64_t request_bytes, uint64_t answer_bytes) {
    absl::MutexLock lock(&mutex_);
    Change(static_cast<int64_t>(answer_bytes) - static_cast<int64_t>(request_bytes));
  }
  void Release(uint64_t bytes) { Replace(bytes, 0); }

 private:
  void Change(int64_t by) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    used_ += static_cast<uint64_t>(by);
    gauge_.Set(static_cast<double>(used_));
  }

  const uint64_t most_;
  prometheus::Gauge& gauge_;
  absl::Mutex mutex_;
  uint64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flowawr
