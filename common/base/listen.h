// A socket that listens, with an error that says what to do where there can be none.
#pragma once

#include "absl/status/statusor.h"
#include "common/base/host_port.h"

namespace flowawr {

// Bound to the first of the host's addresses, an IPv6 one to what reaches it by IPv4 as well; `backlog` connections may
// wait. The caller closes it. AlreadyExists when somebody else has the port; InvalidArgument for a host that is not this
// machine's, or has no address; PermissionDenied; else Unavailable. Messages name no address: the caller knows what for.
absl::StatusOr<int> Listen(const HostPort& address, int backlog);

// Where a socket of Listen() is bound: its host as a number, and its true port.
HostPort BoundTo(int listening_fd);

}  // namespace flowawr
