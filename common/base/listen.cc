#include "common/base/listen.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

absl::Status WhyNot(int error) {
  const std::string message = std::generic_category().message(error);
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat(message, "; stop what listens there, or choose another port (0: any)"));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(absl::StrCat(message, "; the host must be this machine's"));
    case EACCES:
      return absl::PermissionDeniedError(absl::StrCat(message, "; ports below 1024 need privileges"));
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace

absl::StatusOr<int> Listen(const HostPort& address, int backlog) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (rc != 0) return absl::InvalidArgumentError(gai_strerror(rc));
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0) return WhyNot(errno);
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (found->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  if (bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, backlog) == 0) return fd;
  const absl::Status why = WhyNot(errno);
  close(fd);
  return why;
}

HostPort BoundTo(int listening_fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(listening_fd, reinterpret_cast<sockaddr*>(&address), &size);
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "0";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof(host), port, sizeof(port),
              NI_NUMERICHOST | NI_NUMERICSERV);
  return {host, std::stoi(port)};
}

}  // namespace flowawr
