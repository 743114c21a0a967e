#include "common/base/connect.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/await_ready.h"
#include "common/base/clock.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

// 0, or an error's number.
int Connect(int socket_fd, const addrinfo& address, absl::Time deadline) {
  if (connect(socket_fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!AwaitReady(socket_fd, POLLOUT, deadline).ok()) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket_fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

absl::StatusOr<int> Connect(const HostPort& other, absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(other));
  absl::StatusOr<int> connected = Connect(addresses, limit);
  if (!connected.ok()) return Annotate(connected.status(), other.ToString());
  return connected;
}

absl::StatusOr<int> Connect(const Addresses& addresses, absl::Duration limit) {
  int left = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) ++left;
  const absl::Time deadline = MonotonicNow() + limit;
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next, --left) {
    const absl::Time now = MonotonicNow();
    const int socket_fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
    error = socket_fd < 0 ? errno : Connect(socket_fd, *address, now + (deadline - now) / left);
    if (error == 0) return socket_fd;
    if (socket_fd >= 0) close(socket_fd);
  }
  return absl::UnavailableError(std::strerror(error));
}

}  // namespace flowawr
