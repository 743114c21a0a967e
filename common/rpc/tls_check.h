// Why a client cannot reach a server that is there: gRPC says no more than "Socket closed" to a client that speaks in
// clear to a server with TLS, and names an OpenSSL error the other way round.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/rpc/callee.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Makes one TLS handshake of its own with the server at `endpoint`. PermissionDenied with what to do when the TLS
// settings of `network` and the server's do not fit: one side encrypts and the other does not, the certificate is of an
// authority that `network.tls_ca` does not hold, or it does not carry the CertificateName() of `callee`, or the server
// does not take this client's certificate. OK when they fit, and when the server could not be asked: then TLS is not
// what is wrong. Takes `limit` at most, and the time to look the host up.
absl::Status CheckTls(const std::string& endpoint, const v1::NetworkConfig& network, Callee callee = Callee::kServer,
                      absl::Duration limit = absl::Seconds(3));

// A failed call's error as people should read it: an Unavailable becomes the finding of CheckTls(), if there is one,
// and a refusal says where this client's network settings come from. For programs that have --network-config.
absl::Status ExplainFailure(const absl::Status& error, const std::string& endpoint, const v1::NetworkConfig& network);

}  // namespace flowawr
