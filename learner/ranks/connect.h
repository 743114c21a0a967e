// A connection to a rank, however many addresses its name has.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"

namespace flowawr {

// A socket that does not block, which the caller closes. Tries all addresses of `other`, each for up to `limit`.
// Unavailable when nobody listens at any.
absl::StatusOr<int> Connect(const HostPort& other, absl::Duration limit);

}  // namespace flowawr
