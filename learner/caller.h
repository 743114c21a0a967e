// Who may call: what every actor's call but its registration is checked for first.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "learner/lease_desk.h"
#include "learner/request_limits.h"

namespace flowawr {

// OK for the session that registered under that id. InvalidArgument for an id or a session that is too long,
// FailedPrecondition for any other caller.
inline absl::Status CheckCaller(const LeaseDesk& leases, const std::string& actor_id, const std::string& session) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(actor_id, session));
  return leases.CheckSession(actor_id, session);
}

// "127.0.0.1" of gRPC's "ipv4:127.0.0.1:4321", "::1" of "ipv6:%5B::1%5D:4321"; what it does not know as it is.
inline std::string HostOfPeer(const std::string& peer) {
  const size_t scheme = peer.find(':'), port = peer.rfind(':');
  if (scheme == std::string::npos || port <= scheme) return peer;
  return absl::StrReplaceAll(peer.substr(scheme + 1, port - scheme - 1), {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}});
}

// Where others reach an actor that listens at `told`, a valid address or empty: one that listens on all of its machine's
// addresses is at `host`, from where it calls.
inline std::string PeerAddress(const std::string& told, const std::string& host) {
  absl::StatusOr<HostPort> address = ParseHostPort(told);
  if (!address.ok() || !address->is_wildcard()) return told;
  address->host = host;
  return address->ToString();
}

}  // namespace flowawr
