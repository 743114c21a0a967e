// Clients' side of a connection.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/callee.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace flowawr {

// TLS when `network.tls_ca` is set, showing `tls_cert` with `network.mutual_tls`; the files are followed while they change.
// The server's certificate must carry the CertificateName() of `callee`.
// Does not connect yet: a server that is not there shows in the first call, as
// Unavailable. Once there was a call, it connects within two seconds of the server's (re)turn and the time that the
// handshake takes, whether somebody waits in a call or not. Takes no compressed messages.
//
// InvalidArgument for an address or file that is no good; PermissionDenied when a token would travel outside loopback
// without TLS and `network.insecure` is not set.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& endpoint,
                                                           const v1::NetworkConfig& network,
                                                           Callee callee = Callee::kServer);

// The context of one call: its deadline from now on, and the token. The token file is read anew for each call; of
// several tokens the first is sent.
std::unique_ptr<grpc::ClientContext> MakeContext(absl::Duration deadline, const v1::NetworkConfig& network);

}  // namespace flowawr
