// A connection to a host, however many addresses its name has.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"
#include "common/base/resolved.h"

namespace flowawr {

// A socket that does not block, which the caller closes, connected to the first of the host's addresses that takes it.
// All of them are tried within `limit`, beside the time to look the name up: one that does not answer has an equal
// share of what is left, so that those after it have theirs. Unavailable when the name has no address, or with what was
// wrong with the last one.
absl::StatusOr<int> Connect(const HostPort& other, absl::Duration limit);

// The same, with addresses that were looked up before.
absl::StatusOr<int> Connect(const Addresses& addresses, absl::Duration limit);

}  // namespace flowawr
