// Addresses written as host:port.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;      // 0: any free port

  // Nobody outside this machine can reach it: 127.0.0.0/8, ::1 or localhost.
  bool is_loopback() const;
  // All addresses of this machine: 0.0.0.0 or ::.
  bool is_wildcard() const { return host == "0.0.0.0" || host == "::"; }
  std::string ToString() const;
};

// "127.0.0.1:0", "localhost:50051", "[::1]:50051". InvalidArgument says what is accepted.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

}  // namespace flowawr
