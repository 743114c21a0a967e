#include "common/telemetry/metrics.h"

#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/base/version.h"
#include "prometheus/collectable.h"
#include "prometheus/gauge.h"
#include "prometheus/text_serializer.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(HttpOptions options,
                                                                    absl::string_view process_name) {
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  server->registry_ = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge()
      .Name("flowawr_build_info")
      .Help("Always 1; the labels say what runs.")
      .Register(*server->registry_)
      .Add({{"process", std::string(process_name)}, {"version", Version()}})
      .Set(1);
  server->Show(server->registry_);
  FLOWAWR_ASSIGN_OR_RETURN(server->http_, HttpServer::Start(std::move(options)));
  server->http_->Handle("/metrics", [page = server.get()](const HttpRequest&) { return page->Page(); });
  return server;
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(absl::string_view host_port,
                                                                    absl::string_view process_name, bool insecure) {
  return Start(HttpOptions{.listen = std::string(host_port), .insecure = insecure}, process_name);
}

void MetricsServer::Show(const std::shared_ptr<prometheus::Collectable>& collectable) {
  absl::MutexLock lock(&mutex_);
  collectables_.push_back(collectable);
}

void MetricsServer::Keep(std::shared_ptr<prometheus::Collectable> collectable) {
  Show(collectable);
  absl::MutexLock lock(&mutex_);
  kept_.push_back(std::move(collectable));
}

HttpResponse MetricsServer::Page() {
  std::vector<std::shared_ptr<prometheus::Collectable>> shown;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& each : collectables_)
      if (auto collectable = each.lock()) shown.push_back(std::move(collectable));
  }
  std::vector<prometheus::MetricFamily> families;
  for (const auto& collectable : shown)
    for (prometheus::MetricFamily& family : collectable->Collect()) families.push_back(std::move(family));
  return {.body = prometheus::TextSerializer().Serialize(families),
          .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

}  // namespace flowawr
