#include "common/rpc/server.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/host_port.h"
#include "common/base/listen.h"
#include "common/base/status.h"
#include "common/rpc/call_counts.h"
#include "common/rpc/server_credentials.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server_builder.h"

namespace flowawr {
namespace {

constexpr size_t kMinBufferBytes = size_t{1} << 30;

// gRPC only says that it could not listen; the system says why.
absl::Status WhyNotListening(const HostPort& address) {
  const std::string where = absl::StrCat("cannot listen on ", address.ToString());
  const absl::StatusOr<int> fd = Listen(address, /*backlog=*/1);
  if (!fd.ok()) return Annotate(fd.status(), where);
  close(*fd);
  return absl::UnavailableError(absl::StrCat(where, ", though the port is free now; try again"));
}

void Configure(const ServerOptions& options, grpc::ServerBuilder& builder) {
  const int max_bytes = std::max(options.network.max_message_mib(), 1) << 20;
  builder.SetMaxReceiveMessageSize(max_bytes);
  builder.SetMaxSendMessageSize(max_bytes);
  // A compressed message is bounded by what it becomes only when it has become that: none is taken.
  builder.AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  grpc::ResourceQuota quota("flowawr");
  quota.SetMaxThreads(options.max_threads);
  // For messages under way; above it connections are closed that hold the most.
  quota.Resize(std::max(kMinBufferBytes, size_t{16} * max_bytes));
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 4);
  // Of one connection; a client of this project has a handful.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 128);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 30'000);
  // Two servers on one port would share its connections at random.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  if (options.max_connection_age != absl::InfiniteDuration())
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(options.max_connection_age)));
}

// A connection is an open file, and the usual limit of 1,024 is one that a process may lift by itself.
void LiftFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string ReachableHost(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "::1";
  return host;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const ServerOptions& options,
                                                            const std::vector<grpc::Service*>& services) {
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(options.listen));
  if (!address.is_loopback() && options.network.tls_cert().empty() && !options.network.insecure())
    return absl::PermissionDeniedError(
        absl::StrCat("listening on ", options.listen, " would let others in unencrypted; set network.tls_cert and ",
                     "network.tls_key, or network.insecure: true on a network that you trust, or listen on 127.0.0.1"));
  std::unique_ptr<RpcServer> server(new RpcServer);
  FLOWAWR_ASSIGN_OR_RETURN(server->credentials_, MakeServerCredentials(options.network, options.identities));

  LiftFileLimit();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(options, builder);
  CountCallsOf(builder);
  int port = 0;
  builder.AddListeningPort(address.ToString(), server->credentials_, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port == 0) {
    server->server_.reset();
    return WhyNotListening(address);
  }
  server->endpoint_ = HostPort{ReachableHost(address.host), port}.ToString();
  server->SetServing(true);
  return server;
}

RpcServer::~RpcServer() {
  if (server_ != nullptr) Shutdown(absl::ZeroDuration());
}

void RpcServer::SetServing(bool is_serving) { server_->GetHealthCheckService()->SetServingStatus(is_serving); }

void RpcServer::SetServing(const std::string& part, bool is_serving) {
  server_->GetHealthCheckService()->SetServingStatus(part, is_serving);
}

void RpcServer::Shutdown(absl::Duration grace) {
  server_->GetHealthCheckService()->Shutdown();
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
}

}  // namespace flowawr
