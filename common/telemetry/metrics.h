// The /metrics page of a process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/telemetry/http_server.h"
#include "prometheus/registry.h"

namespace prometheus {
class Collectable;
}  // namespace prometheus

namespace flowawr {

// Owns the registry and the HTTP server that shows it, which may show other pages, too; destroy it after everything
// that holds a metric of it. Thread-safe, as the registry is.
class MetricsServer {
 public:
  // Listens as `options` say and adds flowawr_build_info{process,version}. Errors as of HttpServer::Start().
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(HttpOptions options, absl::string_view process_name);
  // In clear and for everybody.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(absl::string_view host_port,
                                                              absl::string_view process_name, bool insecure = false);

  prometheus::Registry& registry() { return *registry_; }
  // Shows what `collectable` collects, asked at every scrape, as long as it lives.
  void Show(const std::shared_ptr<prometheus::Collectable>& collectable);
  // The same, as long as the server lives.
  void Keep(std::shared_ptr<prometheus::Collectable> collectable);
  // For pages beside /metrics.
  HttpServer& http() { return *http_; }
  int port() const { return http_->port(); }
  // Where a client finds it, e.g. "127.0.0.1:41234".
  const std::string& endpoint() const { return http_->endpoint(); }

 private:
  MetricsServer() = default;
  HttpResponse Page();

  std::shared_ptr<prometheus::Registry> registry_;
  absl::Mutex mutex_;
  std::vector<std::weak_ptr<prometheus::Collectable>> collectables_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<prometheus::Collectable>> kept_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> http_;  // last: it calls Page()
};

}  // namespace flowawr
