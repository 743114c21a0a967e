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

// TLS with `network.tls_cert` and `tls_key`, plain without; with `mutual_tls` every client must show a certificate that
// `tls_ca` vouches for. Where a token file is named, every call must carry a token of a role that may make it (access.h),
// else it ends as UNAUTHENTICATED or PERMISSION_DENIED. With `identities`, a call that is meant for another one ends as
// FAILED_PRECONDITION. Refusals are counted (rejects.h). All files are followed while they change. Must outlive the
// server that uses them.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const v1::NetworkConfig& network, const std::vector<std::string>& identities = {});

}  // namespace flowawr
