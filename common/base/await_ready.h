// Waiting for a socket that does not block.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

// Until `fd` has one of `events`, those of poll(), or an error to tell. DeadlineExceeded when it is `deadline`, on the
// scale of MonotonicNow(), before that; signals take nothing off the time. Unavailable when the system cannot wait.
absl::Status AwaitReady(int fd, short events, absl::Time deadline);

}  // namespace flowawr
