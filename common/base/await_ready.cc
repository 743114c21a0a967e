#include "common/base/await_ready.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "common/base/clock.h"

namespace flowawr {

absl::Status AwaitReady(int fd, short events, absl::Time deadline) {
  constexpr absl::Duration kLongestPoll = absl::Hours(1);  // its milliseconds fit an int
  while (true) {
    const absl::Duration left = std::clamp(deadline - MonotonicNow(), absl::ZeroDuration(), kLongestPoll);
    const int64_t left_ms = absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
    pollfd waiting{.fd = fd, .events = events, .revents = 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left_ms));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return absl::UnavailableError(std::strerror(errno));
    if (MonotonicNow() >= deadline)
      return absl::DeadlineExceededError("the other end did nothing within the time limit");
  }
}

}  // namespace flowawr
