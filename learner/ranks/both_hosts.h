// This machine's address and another's, as a connection between them has them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"

namespace flowawr {

struct BothHosts {
  std::string own, other;
};

// Tries all addresses of `other`, each for up to `limit`. Unavailable when nobody listens at any.
absl::StatusOr<BothHosts> HostsTowards(const HostPort& other, absl::Duration limit);

}  // namespace flowawr
