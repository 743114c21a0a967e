// The PEM files of `network`, read and judged before anything is done with them: gRPC answers a file that is no good by
// failed handshakes, or not at all.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct TlsIdentity {
  std::string key, cert;  // PEM
};

// `network.tls_key` and `network.tls_cert`. InvalidArgument, naming field and file, when one cannot be read, they do
// not belong together, the key is encrypted, or the certificate is past its time, not yet valid, or an authority's that
// names no host. NotFound for a missing file.
absl::StatusOr<TlsIdentity> ReadTlsIdentity(const v1::NetworkConfig& network);

// InvalidArgument, naming field and file, when the first certificate of `network.tls_cert` does not carry `name`, a
// host's. Errors as above. Reads the file.
absl::Status CheckCertificateCarries(const std::string& name, const v1::NetworkConfig& network);

// When the first certificate of `network.tls_cert` or of the authorities that signed it, as far as they are in the file,
// ends: a date. NotFound without `network.tls_cert`; errors as above. Reads the file.
absl::StatusOr<absl::Time> CertificateExpiry(const v1::NetworkConfig& network);

// `network.tls_ca`: one or more certificates, one at least within its time. Errors as above.
absl::StatusOr<std::string> ReadTlsAuthorities(const v1::NetworkConfig& network);

}  // namespace flowawr
