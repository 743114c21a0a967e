// absl::Status <-> grpc::Status. Codes are the same numbers.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/status.h"

namespace flowawr {

// A message above 4 KiB is cut: the whole status must fit HTTP/2's headers. Both make messages UTF-8.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

// A call of the callback API that is answered at once: ends it with `status`.
grpc::ServerUnaryReactor* FinishedCall(grpc::CallbackServerContext* context, const absl::Status& status);

}  // namespace flowawr
