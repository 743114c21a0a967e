#include "common/rpc/channel.h"

#include <arpa/inet.h>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/call_counts.h"
#include "common/rpc/channel_poller.h"
#include "common/rpc/client_tls.h"
#include "common/rpc/token.h"
#include "common/rpc/token_travel.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace flowawr {
namespace {

constexpr absl::Duration kMaxReconnectBackoff = absl::Seconds(2);
// Of one attempt, TLS handshake included; gRPC derives it from what it calls the least backoff. An attempt that is
// refused ends at once and waits no longer than the backoff.
constexpr absl::Duration kConnectTimeout = absl::Seconds(20);
// A server that moves keeps its name: it is looked up again when a connection is lost, this often at most.
constexpr absl::Duration kLookUpEvery = absl::Seconds(1);

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
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, absl::ToInt64Milliseconds(kLookUpEvery));
  // A name may stand for several servers; each has its share of the calls.
  arguments.SetLoadBalancingPolicyName("round_robin");
  // Messages arrive as they are: what is bounded is what takes memory.
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  // The connection's state is this channel's own, and a proxy for web pages is none for these services.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

// An IPv6 address as certificates spell it, whatever its zeros were written like.
std::string Canonical(const std::string& host) {
  in6_addr address;
  char text[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) return host;
  return inet_ntop(AF_INET6, &address, text, sizeof(text));
}

// The token in `file`; while that holds none, e.g. as it is being written, the one that it held before. Empty: it never
// held one in this process.
std::string LatestToken(const std::string& file) {
  struct Tokens {
    absl::Mutex mutex;
    std::map<std::string, std::string> by_file ABSL_GUARDED_BY(mutex);
    std::set<std::string> told ABSL_GUARDED_BY(mutex);  // of which a warning was logged since they held a token
  };
  static Tokens& tokens = *new Tokens;
  const absl::StatusOr<std::string> read = ReadToken(file);
  absl::MutexLock lock(&tokens.mutex);
  std::string& latest = tokens.by_file[file];
  if (read.ok()) {
    tokens.told.erase(file);
    return latest = *read;
  }
  if (!latest.empty() && tokens.told.insert(file).second)
    spdlog::warn("{}; the token that it held before is used", std::string(read.status().message()));
  return latest;
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& endpoint,
                                                           const v1::NetworkConfig& network, Callee callee) {
  FLOWAWR_ASSIGN_OR_RETURN(HostPort address, ParseHostPort(endpoint));
  address.host = Canonical(address.host);
  if (address.port == 0)
    return absl::InvalidArgumentError(absl::StrCat("\"", endpoint, "\": port 0 is for listening; name the real port"));
  if (const std::string& token_file = TokenFileToSend(network); !token_file.empty()) {
    if (LatestToken(token_file).empty()) FLOWAWR_RETURN_IF_ERROR(ReadToken(token_file).status());
    FLOWAWR_RETURN_IF_ERROR(MaySendToken(address, !network.tls_ca().empty(), network.insecure(), "network.tls_ca"));
  }
  std::shared_ptr<ClientTls> tls;
  if (!network.tls_ca().empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(tls, ClientTls::For(network));
  } else if (network.mutual_tls()) {
    return absl::InvalidArgumentError("network.mutual_tls: this client needs network.tls_ca to know its server by");
  }
  const auto credentials = tls != nullptr ? tls->credentials() : grpc::InsecureChannelCredentials();
  grpc::ChannelArguments arguments = Arguments(network);
  if (const std::string& name = CertificateName(callee, address, network); tls != nullptr && name != address.host)
    arguments.SetSslTargetNameOverride(name);
  const auto channel = KeepPolled(grpc::experimental::CreateCustomChannelWithInterceptors(
      address.ToString(), credentials, arguments, CallCounters()));
  // The files are followed as long as the channel is there, and a little longer: members end in reverse.
  struct Held {
    std::shared_ptr<ClientTls> tls;
    std::shared_ptr<grpc::Channel> channel;
  };
  const auto held = std::make_shared<Held>(Held{tls, channel});
  return std::shared_ptr<grpc::Channel>(held, held->channel.get());
}

std::unique_ptr<grpc::ClientContext> MakeContext(absl::Duration deadline, const v1::NetworkConfig& network) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  if (const std::string& token_file = TokenFileToSend(network); !token_file.empty()) {
    // Without a token the call goes out bare, and the server's answer says so.
    if (const std::string token = LatestToken(token_file); !token.empty())
      context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }
  return context;
}

}  // namespace flowawr
