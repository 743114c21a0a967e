#include "common/rpc/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kMaxPemBytes = 1 << 20;

template <typename T, auto kFree>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509, X509_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES, GENERAL_NAMES_free>>;

// One field of `network` and the file that it names.
struct PemFile {
  const char* field;
  const std::string& path;
};

absl::Status Bad(const PemFile& file, absl::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(file.field, ": ", file.path, " ", what));
}

absl::StatusOr<std::string> Read(const PemFile& file) {
  absl::StatusOr<std::string> pem = ReadFile(file.path, kMaxPemBytes);
  if (!pem.ok()) return Annotate(pem.status(), file.field);
  if (pem->find("-----BEGIN ") == std::string::npos) return Bad(file, "is not a PEM file");
  return pem;
}

Bio Open(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

// Asked for a passphrase only when there is one to ask for.
int NoPassphrase(char*, int, int, void* was_asked) {
  *static_cast<bool*>(was_asked) = true;
  return -1;
}

absl::StatusOr<Key> ParseKey(const PemFile& file, const std::string& pem) {
  bool is_encrypted = false;
  Key key(PEM_read_bio_PrivateKey(Open(pem).get(), nullptr, NoPassphrase, &is_encrypted));
  if (key != nullptr) return key;
  if (is_encrypted)
    return Bad(file, absl::StrCat("is encrypted, and nobody is there to be asked for its passphrase; write it in clear, "
                                  "readable by this user only: openssl pkey -in ", file.path, " -out FILE"));
  return Bad(file, "holds no private key that can be read");
}

// All of them, in order.
absl::StatusOr<std::vector<X509Ptr>> ParseCertificates(const PemFile& file, const std::string& pem) {
  const Bio bio = Open(pem);
  std::vector<X509Ptr> certificates;
  ERR_clear_error();
  while (X509* const certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    certificates.emplace_back(certificate);
  const bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!is_at_end)
    return Bad(file, absl::StrCat("is damaged: certificate ", certificates.size() + 1, " cannot be read"));
  if (certificates.empty()) return Bad(file, "holds no certificate");
  ERR_clear_error();
  return certificates;
}

std::string TimeOf(const ASN1_TIME* time) {
  const Bio bio(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(bio.get(), time);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

bool IsExpired(const X509& certificate) { return X509_cmp_current_time(X509_get0_notAfter(&certificate)) < 0; }

absl::Status CheckTime(const PemFile& file, const X509& certificate) {
  if (IsExpired(certificate))
    return Bad(file, absl::StrCat("has expired at ", TimeOf(X509_get0_notAfter(&certificate)), "; make a new one"));
  if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0)
    return Bad(file, absl::StrCat("is not valid before ", TimeOf(X509_get0_notBefore(&certificate)),
                                  "; is this machine's clock right?"));
  return absl::OkStatus();
}

// By its basic constraints; old certificates without extensions may be a server's own.
bool IsAuthority(X509& certificate) { return X509_check_ca(&certificate) == 1; }

bool NamesAHost(X509& certificate) {
  return Names(static_cast<GENERAL_NAMES*>(
             X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr))) != nullptr;
}

}  // namespace

absl::StatusOr<TlsIdentity> ReadTlsIdentity(const v1::NetworkConfig& network) {
  const PemFile key_file{"network.tls_key", network.tls_key()}, cert_file{"network.tls_cert", network.tls_cert()};
  TlsIdentity identity;
  FLOWAWR_ASSIGN_OR_RETURN(identity.key, Read(key_file));
  FLOWAWR_ASSIGN_OR_RETURN(identity.cert, Read(cert_file));
  FLOWAWR_ASSIGN_OR_RETURN(const Key key, ParseKey(key_file, identity.key));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<X509Ptr> chain, ParseCertificates(cert_file, identity.cert));
  X509& certificate = *chain.front();
  if (X509_check_private_key(&certificate, key.get()) != 1)
    return Bad(cert_file, absl::StrCat("does not belong to the key in ", network.tls_key(), " (network.tls_key)",
                                       IsAuthority(certificate)
                                           ? ": it is an authority's, and the server's own is wanted"
                                           : chain.size() > 1 ? "; the server's own must be the file's first" : ""));
  if (IsAuthority(certificate) && !NamesAHost(certificate))
    return Bad(cert_file,
               "is an authority's and names no host, so that no client would take it; the server's own is wanted, with "
               "its hosts as subjectAltName");
  for (const X509Ptr& link : chain) FLOWAWR_RETURN_IF_ERROR(CheckTime(cert_file, *link));
  return identity;
}

absl::Status CheckCertificateCarries(const std::string& name, const v1::NetworkConfig& network) {
  const PemFile file{"network.tls_cert", network.tls_cert()};
  FLOWAWR_ASSIGN_OR_RETURN(const std::string pem, Read(file));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<X509Ptr> chain, ParseCertificates(file, pem));
  if (X509_check_host(chain.front().get(), name.data(), name.size(), 0, nullptr) == 1) return absl::OkStatus();
  return Bad(file, absl::StrCat("does not name ", name, "; make one with ", name, " among its subjectAltName"));
}

absl::StatusOr<absl::Time> CertificateExpiry(const v1::NetworkConfig& network) {
  if (network.tls_cert().empty()) return absl::NotFoundError("network.tls_cert is not set");
  const PemFile file{"network.tls_cert", network.tls_cert()};
  FLOWAWR_ASSIGN_OR_RETURN(const std::string pem, Read(file));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<X509Ptr> chain, ParseCertificates(file, pem));
  absl::Time first = absl::InfiniteFuture();
  for (const X509Ptr& link : chain) {
    tm parts{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(link.get()), &parts) != 1) return Bad(file, "has an end that cannot be read");
    first = std::min(first, absl::FromTM(parts, absl::UTCTimeZone()));
  }
  return first;
}

absl::StatusOr<std::string> ReadTlsAuthorities(const v1::NetworkConfig& network) {
  const PemFile file{"network.tls_ca", network.tls_ca()};
  FLOWAWR_ASSIGN_OR_RETURN(std::string pem, Read(file));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<X509Ptr> authorities, ParseCertificates(file, pem));
  // A bundle of many may well hold some that are past their time.
  if (std::all_of(authorities.begin(), authorities.end(), [](const X509Ptr& each) { return IsExpired(*each); }))
    FLOWAWR_RETURN_IF_ERROR(CheckTime(file, *authorities.front()));
  return pem;
}

}  // namespace flowawr
