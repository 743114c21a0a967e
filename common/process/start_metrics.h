// The /metrics page as the command line asks for it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/process/command_line.h"
#include "common/telemetry/metrics.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Starts it and writes its address to the file that was asked for. With `network.metrics_tls` it speaks TLS with tls_cert;
// with `network.read_only_token_file` it wants that token, an operator's, or that of all rights. Both files are followed
// while they change. Errors as of HttpServer::Start(), and of the files.
absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetrics(const TelemetryOptions& options,
                                                            absl::string_view process_name,
                                                            const v1::NetworkConfig& network);

}  // namespace flowawr
