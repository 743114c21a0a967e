#include "common/process/start_metrics.h"

#include "common/base/status.h"
#include "common/rpc/endpoint_file.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetrics(const TelemetryOptions& options,
                                                            absl::string_view process_name, bool insecure) {
  FLOWAWR_ASSIGN_OR_RETURN(auto server, MetricsServer::Start(options.metrics, process_name, insecure));
  if (!options.metrics_endpoint_file.empty())
    FLOWAWR_RETURN_IF_ERROR(WriteEndpointFile(options.metrics_endpoint_file, server->endpoint()));
  return server;
}

}  // namespace flowawr
