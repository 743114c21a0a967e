// The /metrics page as the command line asks for it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/process/command_line.h"
#include "common/telemetry/metrics.h"

namespace flowawr {

// Starts it and writes its address to the file that was asked for. Errors as of MetricsServer::Start().
absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetrics(const TelemetryOptions& options,
                                                            absl::string_view process_name, bool insecure);

}  // namespace flowawr
