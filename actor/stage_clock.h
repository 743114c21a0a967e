// Where an actor's time goes: seconds by stage since it started. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace flowawr {

class StageClock {
 public:
  explicit StageClock(const Clock& clock = Clock::Real()) : clock_(clock) {}

  void Add(const std::string& stage, absl::Duration spent) {
    absl::MutexLock lock(&mutex_);
    seconds_[stage] += absl::ToDoubleSeconds(spent);
  }

  std::map<std::string, double> Seconds() const {
    absl::MutexLock lock(&mutex_);
    return seconds_;
  }

  const Clock& clock() const { return clock_; }

 private:
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::map<std::string, double> seconds_ ABSL_GUARDED_BY(mutex_);
};

// Adds the time from its construction to Stop() (or destruction) to one stage.
class StageTimer {
 public:
  StageTimer(StageClock& clock, std::string stage)
      : stages_(clock), stage_(std::move(stage)), start_(clock.clock().Now()) {}
  ~StageTimer() {
    if (!is_stopped_) Stop();
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

  // The seconds that were added.
  double Stop() {
    is_stopped_ = true;
    const absl::Duration spent = stages_.clock().Now() - start_;
    stages_.Add(stage_, spent);
    return absl::ToDoubleSeconds(spent);
  }

 private:
  StageClock& stages_;
  const std::string stage_;
  const absl::Time start_;
  bool is_stopped_ = false;
};

}  // namespace flowawr
