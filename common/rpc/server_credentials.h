// How a server encrypts and whom it lets in.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/security/server_credentials.h"

namespace flowawr {

// TLS with `network.tls_cert` and `tls_key`, plain without; in both cases every call must carry the token of
// `network.token_file` when that is set, else it ends as UNAUTHENTICATED. Reads the files once.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const v1::NetworkConfig& network);

}  // namespace flowawr
