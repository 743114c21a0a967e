// How much came in a second, over the last minute. Memory is bounded whatever comes. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace flowawr {

class RecentRate {
 public:
  static constexpr absl::Duration kWindow = absl::Minutes(1), kStep = absl::Seconds(1);

  void Add(absl::Time now, uint64_t amount) {
    if (!since_) since_ = now;
    Forget(now);
    if (!recent_.empty() && now - recent_.back().first < kStep)
      recent_.back().second += amount;
    else
      recent_.emplace_back(now, amount);
  }
  // Of the first minute, over the time since the first call of Begin() or Add().
  double PerSecond(absl::Time now) const {
    if (!since_) return 0;
    uint64_t sum = 0;
    for (const auto& [when, amount] : recent_)
      if (now - when < kWindow) sum += amount;
    const absl::Duration over = std::clamp(now - *since_, kStep, kWindow);
    return static_cast<double>(sum) / absl::ToDoubleSeconds(over);
  }
  void Begin(absl::Time now) {
    if (!since_) since_ = now;
  }

 private:
  void Forget(absl::Time now) {
    while (!recent_.empty() && now - recent_.front().first >= kWindow) recent_.pop_front();
  }

  std::optional<absl::Time> since_;
  std::deque<std::pair<absl::Time, uint64_t>> recent_;  // what came in a step, by when it began
};

}  // namespace flowawr
