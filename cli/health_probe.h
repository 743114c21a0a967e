// One question to a process: do you serve? Over gRPC, and for those that have no more, over the page of their metrics.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/rpc/endpoint_file.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Asks grpc.health.v1 at `endpoint` about `service`, such as "flowawr.scorer.ocr"; empty: about the server as a whole.
// Unavailable when it does not serve that, does not answer within `limit`, or is another process than `endpoint` says;
// PermissionDenied and Unauthenticated when the token or TLS does not fit.
absl::Status ProbeHealth(const Endpoint& endpoint, const std::string& service, const v1::NetworkConfig& network,
                         absl::Duration limit);

// Asks for /metrics at `address`, by TLS and with the token when `network` says so. Errors as above.
absl::Status ProbeMetrics(const std::string& address, const v1::NetworkConfig& network, absl::Duration limit);

}  // namespace flowawr
