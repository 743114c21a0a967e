#include "common/process/start_metrics.h"

#include <optional>
#include <string>
#include <utility>

#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/process/standard_metrics.h"
#include "common/rpc/access.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/rejects.h"
#include "common/rpc/tls_watch.h"
#include "common/rpc/token_book.h"

namespace flowawr {
namespace {

bool MayLook(TokenBook& tokens, absl::string_view token) {
  const std::optional<Role> role = token.empty() ? std::nullopt : tokens.RoleOf(token);
  constexpr RoleSet kLookers = {Role::kReadOnly, Role::kOperator};
  if (role && kLookers.contains(*role)) return true;
  CountReject(token.empty() ? Reject::kNoToken : role ? Reject::kRole : Reject::kUnknownToken);
  return false;
}

// A section with the actors' token alone leaves the page open: it is an actor's, and probes ask it.
bool WantsToken(const std::string& listen, const v1::NetworkConfig& network) {
  if (!network.read_only_token_file().empty()) return true;
  const absl::StatusOr<HostPort> address = ParseHostPort(listen);
  const bool is_seen_elsewhere = address.ok() && !address->is_loopback();
  return is_seen_elsewhere && !(network.token_file().empty() && network.operator_token_file().empty());
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetrics(const TelemetryOptions& options,
                                                            absl::string_view process_name,
                                                            const v1::NetworkConfig& network) {
  HttpOptions http{.listen = options.metrics, .insecure = network.insecure()};
  if (network.metrics_tls()) {
    if (network.tls_cert().empty())
      return absl::InvalidArgumentError("network.metrics_tls needs network.tls_cert and network.tls_key");
    FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<TlsWatch> watch, TlsWatch::Open(network, {.identity = true}));
    http.identity = [watch = std::move(watch)] {
      const auto now = watch->Current();
      return HttpIdentity{.key = now->identity.key, .cert = now->identity.cert};
    };
  }
  if (WantsToken(options.metrics, network)) {
    FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<TokenBook> tokens, TokenBook::Open(network));
    http.admits = [tokens = std::move(tokens)](absl::string_view token) { return MayLook(*tokens, token); };
  }
  FLOWAWR_ASSIGN_OR_RETURN(auto server, MetricsServer::Start(std::move(http), process_name));
  server->Keep(MakeStandardMetrics(network));
  if (!options.metrics_endpoint_file.empty())
    FLOWAWR_RETURN_IF_ERROR(WriteEndpointFile(options.metrics_endpoint_file, server->endpoint()));
  return server;
}

}  // namespace flowawr
