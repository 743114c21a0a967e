// When to try a call again. Pure: the caller waits.
#pragma once

#include <cstdint>
#include <optional>
#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

// The same call may succeed later: Unavailable, DeadlineExceeded, ResourceExhausted, Aborted.
bool IsTransient(const absl::Status& status);

struct RetryPolicy {
  int max_attempts = 5;  // the first one counts
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration max = absl::Seconds(5);
  double multiplier = 2;
  double jitter = 0.2;  // each wait is drawn from [1 - jitter, 1 + jitter] times its nominal length
};

// Not thread-safe; one for each call that may be repeated.
class Backoff {
 public:
  // Equal seeds give equal waits.
  explicit Backoff(const RetryPolicy& policy, uint64_t seed = std::random_device()());

  // How long to wait after a failed attempt; nullopt when it was the last.
  std::optional<absl::Duration> Next();
  // After a success: as new.
  void Reset();

 private:
  const RetryPolicy policy_;
  std::mt19937_64 random_;
  int failures_ = 0;
};

}  // namespace flowawr
