#include "common/base/clock.h"

#include <chrono>

namespace flowawr {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() const override { return MonotonicNow(); }
};

}  // namespace

absl::Time MonotonicNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace flowawr
