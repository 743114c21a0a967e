#include "learner/ranks/both_hosts.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "learner/ranks/resolved.h"

namespace flowawr {
namespace {

// 0, or an error's number.
int Connect(int socket_fd, const addrinfo& address, absl::Duration limit) {
  if (connect(socket_fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{.fd = socket_fd, .events = POLLOUT, .revents = 0};
  const int ready = poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(limit)));
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket_fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

absl::StatusOr<BothHosts> HostsBy(const addrinfo& address, absl::Duration limit) {
  const int socket_fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_fd < 0) return absl::UnavailableError(std::strerror(errno));
  const absl::Cleanup closer = [socket_fd] { close(socket_fd); };
  if (const int error = Connect(socket_fd, address, limit); error != 0) return absl::UnavailableError(std::strerror(error));
  sockaddr_storage own{}, peer{};
  socklen_t own_length = sizeof own, peer_length = sizeof peer;
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&own), &own_length);
  getpeername(socket_fd, reinterpret_cast<sockaddr*>(&peer), &peer_length);
  return BothHosts{HostOf(own, own_length), HostOf(peer, peer_length)};
}

}  // namespace

absl::StatusOr<BothHosts> HostsTowards(const HostPort& other, absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(other));
  absl::Status last;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    absl::StatusOr<BothHosts> hosts = HostsBy(*address, limit);
    if (hosts.ok()) return hosts;
    last = hosts.status();
  }
  return Annotate(last, other.ToString());
}

}  // namespace flowawr
