// The /metrics page of a process.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "prometheus/registry.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace flowawr {

// Owns the registry and the HTTP server that shows it; destroy it after everything that holds a metric of it.
// Thread-safe, as the registry is.
class MetricsServer {
 public:
  // Listens on `host_port` (port 0: any free one) and adds flowawr_build_info{process,version}.
  // A slow client holds up nobody: several are served at once, each for a limited time.
  // AlreadyExists when the port is taken; PermissionDenied outside loopback unless `insecure`, as it has no TLS.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(absl::string_view host_port,
                                                              absl::string_view process_name, bool insecure = false);
  ~MetricsServer();

  prometheus::Registry& registry() { return *registry_; }
  // Shows what `collectable` collects, asked at every scrape, as long as it lives.
  void Show(const std::shared_ptr<prometheus::Collectable>& collectable);
  int port() const { return port_; }
  // Where a client finds it, e.g. "127.0.0.1:41234".
  const std::string& endpoint() const { return endpoint_; }

 private:
  MetricsServer() = default;

  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string endpoint_;
  int port_ = 0;
};

}  // namespace flowawr
