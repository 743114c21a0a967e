#include "learner/ranks/connect.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

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

}  // namespace

absl::StatusOr<int> Connect(const HostPort& other, absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const Addresses addresses, Resolve(other));
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const int socket_fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = socket_fd < 0 ? errno : Connect(socket_fd, *address, limit);
    if (error == 0) return socket_fd;
    if (socket_fd >= 0) close(socket_fd);
  }
  return Annotate(absl::UnavailableError(std::strerror(error)), other.ToString());
}

}  // namespace flowawr
