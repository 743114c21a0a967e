#include "common/rpc/retry.h"

#include <algorithm>
#include <cmath>

namespace flowawr {

bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

Backoff::Backoff(const RetryPolicy& policy, uint64_t seed) : policy_(policy), random_(seed) {}

std::optional<absl::Duration> Backoff::Next() {
  if (failures_ + 1 >= policy_.max_attempts) return std::nullopt;
  const absl::Duration nominal = std::min(policy_.max, policy_.initial * std::pow(policy_.multiplier, failures_));
  ++failures_;
  const double unit = static_cast<double>(random_() >> 11) * 0x1p-53;
  return nominal * (1 + policy_.jitter * (2 * unit - 1));
}

void Backoff::Reset() { failures_ = 0; }

}  // namespace flowawr
