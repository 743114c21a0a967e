// The addresses of a name.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/host_port.h"

namespace flowawr {

struct FreeAddresses {
  void operator()(addrinfo* first) const { freeaddrinfo(first); }
};
// A list by `ai_next`, with the port in each; never null. Unavailable when the name has none.
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;
absl::StatusOr<Addresses> Resolve(const HostPort& address);

// As numbers, without the port.
std::string HostOf(const sockaddr_storage& address, socklen_t length);

}  // namespace flowawr
