#include "common/scoring/circuit_breaker.h"

#include <algorithm>

namespace flowawr {

absl::Time CircuitBreaker::Admit(absl::Time now) {
  const absl::Time from = WouldAdmit(now);
  if (state_ == State::kOpen && from <= now) state_ = State::kHalfOpen;
  return from;
}

absl::Time CircuitBreaker::WouldAdmit(absl::Time now) const {
  switch (state_) {
    case State::kClosed:
      return now;
    case State::kOpen:
      return std::max(now, open_until_);
    case State::kHalfOpen:
      return now + options_.initial_pause;  // the probe's answer decides; look again soon
  }
  return now;
}

void CircuitBreaker::OnAnswer() {
  state_ = State::kClosed;
  failures_ = 0;
  pause_ = options_.initial_pause;
}

void CircuitBreaker::OnFailure(absl::Time now) {
  if (state_ == State::kOpen) return;  // a call from before the opening
  if (state_ == State::kClosed && ++failures_ < options_.failures_to_open) return;
  Open(now);
}

void CircuitBreaker::OnAbandoned(absl::Time now) {
  if (state_ != State::kHalfOpen) return;
  state_ = State::kOpen;
  open_until_ = now;  // the next caller is the probe
}

void CircuitBreaker::Open(absl::Time now) {
  state_ = State::kOpen;
  failures_ = 0;
  open_until_ = now + pause_;
  pause_ = std::min(pause_ * 2, options_.max_pause);
}

}  // namespace flowawr
