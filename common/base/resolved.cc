#include "common/base/resolved.h"

#include "absl/strings/str_cat.h"

namespace flowawr {

absl::StatusOr<Addresses> Resolve(const HostPort& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int error = getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &first);
  if (error != 0) return absl::UnavailableError(absl::StrCat(address.host, ": ", gai_strerror(error)));
  return Addresses(first);
}

std::string HostOf(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST] = "";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

}  // namespace flowawr
