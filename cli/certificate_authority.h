// An authority for a deployment of one's own: keys and certificates, made by OpenSSL.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <openssl/x509.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace flowawr {

// PEM texts that belong together.
struct KeyAndCertificate {
  std::string key, certificate;
};

// What a certificate is for.
struct CertificateRequest {
  std::string name;                // for people: the certificate's subject
  std::vector<std::string> hosts;  // names and addresses of a server; empty for a client
  absl::Duration lifetime;
};

// InvalidArgument for what is neither a host's name nor an IPv4 or IPv6 address. "*.example.org" is a name as well.
absl::Status CheckHost(const std::string& host);

// The names and addresses of a server's certificate. InvalidArgument when it cannot be read.
absl::StatusOr<std::vector<std::string>> HostsOf(const std::string& certificate_pem);

// Signs what it is asked for. P-256 keys; certificates begin an hour ago, for clocks that differ.
class CertificateAuthority {
 public:
  static absl::StatusOr<CertificateAuthority> Make(absl::Duration lifetime);
  // InvalidArgument when they do not belong together, are no authority's or past their time.
  static absl::StatusOr<CertificateAuthority> Load(const KeyAndCertificate& pem);

  absl::StatusOr<KeyAndCertificate> pem() const;

  // A server's serves as a client's, too: a learner calls reward servers. No certificate outlives its authority.
  absl::StatusOr<KeyAndCertificate> Sign(const CertificateRequest& request) const;

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    void operator()(X509* certificate) const { X509_free(certificate); }
  };
  using Key = std::unique_ptr<EVP_PKEY, Free>;
  using Certificate = std::unique_ptr<X509, Free>;

  CertificateAuthority(Key key, Certificate certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)) {}
  static absl::StatusOr<KeyAndCertificate> Write(EVP_PKEY* key, X509* certificate);

  Key key_;
  Certificate certificate_;
};

}  // namespace flowawr
