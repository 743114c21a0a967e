// How a server encrypts and whom it lets in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/security/server_credentials.h"

namespace flowawr {

// How an answer to a call for somebody else begins, see peer.h.
inline constexpr char kAnotherPeer[] = "another process listens here than the one that was asked for";

// TLS with `network.tls_cert` and `tls_key`, plain without; in both cases every call must carry the token of
// `network.token_file` when that is set, else it ends as UNAUTHENTICATED. With `identities`, a call that is meant for
// another one ends as FAILED_PRECONDITION. Reads the files once.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const v1::NetworkConfig& network, const std::vector<std::string>& identities = {});

}  // namespace flowawr
