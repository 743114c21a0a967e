#include "common/rpc/channel.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/channel_poller.h"
#include "common/rpc/tls_files.h"
#include "common/rpc/token.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace flowawr {
namespace {

constexpr absl::Duration kMaxReconnectBackoff = absl::Seconds(2);
// Of one attempt, TLS handshake included; gRPC derives it from what it calls the least backoff. An attempt that is
// refused ends at once and waits no longer than the backoff.
constexpr absl::Duration kConnectTimeout = absl::Seconds(20);

grpc::ChannelArguments Arguments(const v1::NetworkConfig& network) {
  grpc::ChannelArguments arguments;
  const int max_bytes = std::max(network.max_message_mib(), 1) << 20;
  arguments.SetMaxReceiveMessageSize(max_bytes);
  arguments.SetMaxSendMessageSize(max_bytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, absl::ToInt64Milliseconds(kConnectTimeout));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, absl::ToInt64Milliseconds(kMaxReconnectBackoff));
  // Messages arrive as they are: what is bounded is what takes memory.
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  // The connection's state is this channel's own, and a proxy for web pages is none for these services.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& endpoint,
                                                           const v1::NetworkConfig& network) {
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(endpoint));
  if (address.port == 0)
    return absl::InvalidArgumentError(absl::StrCat("\"", endpoint, "\": port 0 is for listening; name the real port"));
  if (!network.token_file().empty()) {
    FLOWAWR_RETURN_IF_ERROR(ReadToken(network.token_file()).status());
    if (network.tls_ca().empty() && !address.is_loopback() && !network.insecure())
      return absl::PermissionDeniedError(
          absl::StrCat("the token would travel to ", endpoint,
                       " unencrypted; set network.tls_ca, or network.insecure: true on a network that you trust"));
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (network.tls_ca().empty()) {
    credentials = grpc::InsecureChannelCredentials();
  } else {
    grpc::SslCredentialsOptions tls;
    FLOWAWR_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadTlsAuthorities(network));
    credentials = grpc::SslCredentials(tls);
  }
  return KeepPolled(grpc::CreateCustomChannel(address.ToString(), credentials, Arguments(network)));
}

std::unique_ptr<grpc::ClientContext> MakeContext(absl::Duration deadline, const v1::NetworkConfig& network) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  if (!network.token_file().empty()) {
    // Without a readable token the call goes out bare, and the server's answer says so.
    if (const absl::StatusOr<std::string> token = ReadToken(network.token_file()); token.ok())
      context->AddMetadata("authorization", absl::StrCat("Bearer ", *token));
  }
  return context;
}

}  // namespace flowawr
