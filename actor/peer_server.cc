#include "actor/peer_server.h"

#include <atomic>
#include <utility>

#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/fetch_ticket.h"
#include "common/rpc/idle_watch.h"
#include "common/rpc/policy_stream.h"
#include "common/rpc/server.h"
#include "common/rpc/tls_files.h"
#include "flowawr/v1/policy.grpc.pb.h"

namespace flowawr {
namespace {

// How long an actor may let a fetch stand without reading.
constexpr absl::Duration kLongestSilence = absl::Seconds(10);

}  // namespace

class PeerServer::Service final : public v1::PolicyPeer::Service {
 public:
  explicit Service(const HeldPolicies& held) : held_(held) {
    MarkMethodRawCallback(MethodIndex("PolicyPeer", "FetchAdapter"),
                          new PolicyStreamHandler<v1::FetchAdapterRequest>(
                              [this](grpc::CallbackServerContext* context, const v1::FetchAdapterRequest* request) {
                                return FetchAdapter(context, *request);
                              }));
  }

  absl::StatusOr<std::string> Start(const std::string& listen, const v1::NetworkConfig& network) {
    FLOWAWR_ASSIGN_OR_RETURN(server_, RpcServer::Start({.listen = listen, .network = WithoutTokens(network)}, {this}));
    return server_->endpoint();
  }

 private:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchAdapter(grpc::CallbackServerContext* context,
                                                           const v1::FetchAdapterRequest& request) {
    if (!HasTicket(held_.fetch_key(), request.sha256(), *context))
      return new PolicyAnswerStream(absl::PermissionDeniedError("no ticket by the key that the learner gave this actor"));
    std::shared_ptr<const FetchedPolicy> held = held_.Find(request.sha256());
    if (held == nullptr)
      return new PolicyAnswerStream(absl::NotFoundError("this actor does not hold that adapter"));
    if (++fetches_ > kMostFetches) {
      --fetches_;
      return new PolicyAnswerStream(absl::ResourceExhaustedError("other actors fetch from this one already"));
    }
    const FetchedPolicy& policy = *held;
    return new PolicyStream(policy.header, *policy.bytes, std::move(held), idle_, *context, [this](bool) { --fetches_; });
  }

  const HeldPolicies& held_;
  IdleWatch idle_{kLongestSilence};
  std::atomic<int> fetches_ = 0;
  std::unique_ptr<RpcServer> server_;  // the first to go: its calls use the others
};

absl::StatusOr<std::unique_ptr<PeerServer>> PeerServer::Start(const std::string& listen,
                                                              const v1::NetworkConfig& network) {
  FLOWAWR_ASSIGN_OR_RETURN(HostPort address, ParseHostPort(listen));
  if (const std::string& name = network.peer_tls_name(); !name.empty() && !network.tls_cert().empty())
    FLOWAWR_RETURN_IF_ERROR(Annotate(CheckCertificateCarries(name, network), "network.peer_tls_name"));
  std::unique_ptr<PeerServer> peer(new PeerServer);
  peer->service_ = std::make_unique<Service>(peer->held_);
  FLOWAWR_ASSIGN_OR_RETURN(const std::string reached, peer->service_->Start(listen, network));
  // Its own address for one that listens on all is loopback, which is no use to others.
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort at, ParseHostPort(reached));
  address.port = at.port;
  peer->endpoint_ = address.ToString();
  return peer;
}

PeerServer::~PeerServer() = default;

}  // namespace flowawr
