// Whether it is worth calling an endpoint: a dead server is left alone, then asked by one call at a time.
//
//   closed --failures_to_open failures in a row--> open --the pause is over--> half open: one probe under way
//   half open --success--> closed;  half open --failure--> open, for twice as long
//
// Pure: the time is an argument. Not thread-safe; its owner guards it. Every call that Admit() let through must be
// reported by exactly one of the On...() functions.
#pragma once

#include "absl/time/time.h"

namespace flowawr {

class CircuitBreaker {
 public:
  struct Options {
    int failures_to_open = 5;
    absl::Duration initial_pause = absl::Milliseconds(500);
    absl::Duration max_pause = absl::Seconds(15);
  };
  enum class State { kClosed, kOpen, kHalfOpen };

  explicit CircuitBreaker(const Options& options) : options_(options), pause_(options.initial_pause) {}

  // The time from which a call may go: `now` lets the caller go at once (and in the open state makes it the probe);
  // anything later means: do not call, ask again then.
  absl::Time Admit(absl::Time now);
  // What Admit() would answer, without letting anybody go.
  absl::Time WouldAdmit(absl::Time now) const;

  // The endpoint answered, even if with an error of its own.
  void OnAnswer();
  // The endpoint could not be reached or did not answer in time.
  void OnFailure(absl::Time now);
  // The caller gave the call up before it could tell.
  void OnAbandoned(absl::Time now);

  State state() const { return state_; }

 private:
  void Open(absl::Time now);

  const Options options_;
  State state_ = State::kClosed;
  int failures_ = 0;      // in a row, while closed
  absl::Duration pause_;  // of the next opening
  absl::Time open_until_ = absl::InfinitePast();
};

}  // namespace flowawr
