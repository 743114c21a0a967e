// Gives other actors the adapters that this one holds: the PolicyPeer service and its server.
//
// Whoever has a ticket may fetch (common/rpc/fetch_ticket.h): tokens are asked of nobody. A receiver checks what it gets
// by the digest that the learner told it. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actor/held_policies.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

class PeerServer {
 public:
  // Actors that fetch at once; others are told that it is busy, and ask elsewhere.
  static constexpr int kMostFetches = 16;

  // Serving when it returns. `listen`: host:port; port 0: any free one. Errors as RpcServer::Start(); InvalidArgument
  // where its certificate lacks the name that others ask for (network.peer_tls_name).
  static absl::StatusOr<std::unique_ptr<PeerServer>> Start(const std::string& listen, const v1::NetworkConfig& network);
  // Ends the fetches under way.
  ~PeerServer();

  // What it listens on, e.g. "127.0.0.1:41234" or "0.0.0.0:41234".
  const std::string& endpoint() const { return endpoint_; }
  HeldPolicies& held() { return held_; }

 private:
  class Service;

  PeerServer() = default;

  HeldPolicies held_;
  std::unique_ptr<Service> service_;
  std::string endpoint_;
};

}  // namespace flowawr
