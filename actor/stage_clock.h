// Where an actor's time goes: seconds by stage since it started. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace flowawr {

class StageClock {
 public:
  explicit StageClock(const Clock& clock = Clock::Real()) : clock_(clock) {}

  // Some work of a stage begins; returns what End() wants.
  uint64_t Begin(std::string stage) {
    absl::MutexLock lock(&mutex_);
    under_way_.emplace(next_, std::pair(std::move(stage), clock_.Now()));
    return next_++;
  }
  // Returns the seconds that it took.
  double End(uint64_t work) {
    absl::MutexLock lock(&mutex_);
    const auto [stage, began] = under_way_.extract(work).mapped();
    const double seconds = absl::ToDoubleSeconds(clock_.Now() - began);
    seconds_[stage] += seconds;
    return seconds;
  }

  // With what is under way, so that they grow evenly: an actor that waits for an hour is idle from the first minute.
  std::map<std::string, double> Seconds() const {
    absl::MutexLock lock(&mutex_);
    std::map<std::string, double> seconds = seconds_;
    for (const auto& [work, what] : under_way_)
      seconds[what.first] += absl::ToDoubleSeconds(clock_.Now() - what.second);
    return seconds;
  }

 private:
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, std::pair<std::string, absl::Time>> under_way_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double> seconds_ ABSL_GUARDED_BY(mutex_);
};

// Adds the time from its construction to Stop() (or destruction) to one stage.
class StageTimer {
 public:
  StageTimer(StageClock& clock, std::string stage) : stages_(clock), work_(clock.Begin(std::move(stage))) {}
  ~StageTimer() {
    if (!is_stopped_) Stop();
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

  // The seconds that were added.
  double Stop() {
    is_stopped_ = true;
    return stages_.End(work_);
  }

 private:
  StageClock& stages_;
  const uint64_t work_;
  bool is_stopped_ = false;
};

}  // namespace flowawr
