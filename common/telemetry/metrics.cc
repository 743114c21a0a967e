#include "common/telemetry/metrics.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "prometheus/exposer.h"
#include "prometheus/gauge.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(absl::string_view host_port,
                                                                    absl::string_view process_name, bool insecure) {
  FLOWAWR_ASSIGN_OR_RETURN(HostPort address, ParseHostPort(host_port));
  if (!address.is_loopback() && !insecure)
    return absl::PermissionDeniedError(
        absl::StrCat("/metrics on ", host_port, " would be readable from outside, unencrypted; listen on 127.0.0.1, or ",
                     "set network.insecure: true on a network that you trust"));
  // CivetWeb takes numbers only.
  if (address.host == "localhost") address.host = "127.0.0.1";
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  try {
    server->exposer_ = std::make_unique<prometheus::Exposer>(address.ToString(), 1);
    server->port_ = server->exposer_->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    return absl::AlreadyExistsError(
        absl::StrCat("/metrics cannot listen on ", host_port, ": ", error.what(),
                     "; another process has the port (choose another one, 0: any), or the host is not this machine's"));
  }
  server->endpoint_ = HostPort{address.host, server->port_}.ToString();
  server->registry_ = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge()
      .Name("flowawr_build_info")
      .Help("Always 1; the labels say what runs.")
      .Register(*server->registry_)
      .Add({{"process", std::string(process_name)}, {"version", Version()}})
      .Set(1);
  server->exposer_->RegisterCollectable(server->registry_);
  return server;
}

MetricsServer::~MetricsServer() = default;

}  // namespace flowawr
