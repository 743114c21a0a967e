// Where a token may go: the one rule of every client that sends one.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/host_port.h"

namespace flowawr {

// PermissionDenied when a token would leave this machine in clear though nobody allowed that (`insecure`). `setting` is
// what would encrypt it, for the message: "network.tls_ca".
absl::Status MaySendToken(const HostPort& to, bool is_encrypted, bool insecure, absl::string_view setting);

}  // namespace flowawr
