#include "learner/ranks/both_hosts.h"

#include <sys/socket.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "common/base/connect.h"
#include "common/base/resolved.h"
#include "common/base/status.h"

namespace flowawr {

absl::StatusOr<BothHosts> HostsTowards(const HostPort& other, absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const int socket_fd, Connect(other, limit));
  const absl::Cleanup closer = [socket_fd] { close(socket_fd); };
  sockaddr_storage own{}, peer{};
  socklen_t own_length = sizeof own, peer_length = sizeof peer;
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&own), &own_length);
  getpeername(socket_fd, reinterpret_cast<sockaddr*>(&peer), &peer_length);
  return BothHosts{HostOf(own, own_length), HostOf(peer, peer_length)};
}

}  // namespace flowawr
