#include "cli/certificate_authority.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr absl::Duration kClockDifference = absl::Hours(1);
constexpr size_t kMaxCommonNameChars = 64;

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

absl::Status Failed(const char* what) {
  char reason[256] = "";
  ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
  ERR_clear_error();
  return absl::InternalError(absl::StrCat(what, ": ", reason));
}

Bio Open(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

std::string TextOf(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  return std::string(text, static_cast<size_t>(size));
}

bool IsAddress(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool Extend(X509* certificate, X509* issuer, int extension, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, &context, extension, value.c_str());
  const bool is_added = made != nullptr && X509_add_ext(certificate, made, -1) == 1;
  X509_EXTENSION_free(made);
  return is_added;
}

// 128 random bits.
bool SetSerial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  bytes[0] &= 0x7f;
  BIGNUM* const number = BN_bin2bn(bytes, sizeof(bytes), nullptr);
  const bool is_set =
      number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return is_set;
}

bool SetTimes(X509* certificate, absl::Duration lifetime, const X509* issuer) {
  const absl::Time now = absl::Now();
  ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(now - kClockDifference));
  ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(now + lifetime));
  if (issuer == nullptr) return true;
  if (ASN1_TIME_compare(X509_get0_notAfter(certificate), X509_get0_notAfter(issuer)) > 0)
    return X509_set1_notAfter(certificate, X509_get0_notAfter(issuer)) == 1;
  return true;
}

bool SetSubject(X509* certificate, const std::string& name) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const auto add = [subject](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, 0) == 1;
  };
  return add("O", "flowawr") && add("CN", name.substr(0, kMaxCommonNameChars));
}

}  // namespace

absl::Status CheckHost(const std::string& host) {
  if (IsAddress(host)) return absl::OkStatus();
  absl::string_view name = host;
  absl::ConsumePrefix(&name, "*.");
  bool is_good = !name.empty() && host.size() <= 253;
  for (const absl::string_view label : absl::StrSplit(name, '.'))
    is_good &= !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
               std::all_of(label.begin(), label.end(),
                           [](unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_'; });
  if (is_good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", host, "\" is neither the name of a host, such as trainer.example, nor an address, such as ",
                   "192.0.2.7 or 2001:db8::7 (without port and brackets)"));
}

absl::StatusOr<std::vector<std::string>> HostsOf(const std::string& certificate_pem) {
  X509* const certificate = PEM_read_bio_X509(Open(certificate_pem).get(), nullptr, nullptr, nullptr);
  ERR_clear_error();
  if (certificate == nullptr) return absl::InvalidArgumentError("the certificate cannot be read");
  auto* const names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  X509_free(certificate);
  std::vector<std::string> hosts;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {  // -1 without names
    int type = 0;
    const auto* const value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type));
    const unsigned char* const bytes = ASN1_STRING_get0_data(value);
    const int size = ASN1_STRING_length(value);
    char text[INET6_ADDRSTRLEN];
    if (type == GEN_DNS) hosts.emplace_back(reinterpret_cast<const char*>(bytes), size);
    if (type == GEN_IPADD && (size == 4 || size == 16))
      hosts.emplace_back(inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text)));
  }
  GENERAL_NAMES_free(names);
  return hosts;
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Make(absl::Duration lifetime) {
  Key key(EVP_EC_gen("P-256"));
  Certificate certificate(X509_new());
  X509* const made = certificate.get();
  const bool is_made =
      key != nullptr && X509_set_version(made, X509_VERSION_3) == 1 && SetSerial(made) &&
      SetTimes(made, lifetime, nullptr) && SetSubject(made, "flowawr development authority") &&
      X509_set_issuer_name(made, X509_get_subject_name(made)) == 1 && X509_set_pubkey(made, key.get()) == 1 &&
      Extend(made, made, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      Extend(made, made, NID_key_usage, "critical,keyCertSign,cRLSign") &&
      Extend(made, made, NID_subject_key_identifier, "hash") && X509_sign(made, key.get(), EVP_sha256()) > 0;
  if (!is_made) return Failed("making an authority");
  return CertificateAuthority(std::move(key), std::move(certificate));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Load(const KeyAndCertificate& pem) {
  Key key(PEM_read_bio_PrivateKey(Open(pem.key).get(), nullptr, nullptr, nullptr));
  Certificate certificate(PEM_read_bio_X509(Open(pem.certificate).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("its key cannot be read");
  if (certificate == nullptr) return absl::InvalidArgumentError("its certificate cannot be read");
  if (X509_check_private_key(certificate.get(), key.get()) != 1)
    return absl::InvalidArgumentError("certificate and key do not belong together");
  if (X509_check_ca(certificate.get()) != 1) return absl::InvalidArgumentError("it is no authority's");
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0)
    return absl::InvalidArgumentError("it has expired; move it away, and everything is made anew");
  return CertificateAuthority(std::move(key), std::move(certificate));
}

absl::StatusOr<KeyAndCertificate> CertificateAuthority::Write(EVP_PKEY* key, X509* certificate) {
  const Bio key_text(BIO_new(BIO_s_mem())), text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(text.get(), certificate) != 1)
    return Failed("writing a certificate");
  return KeyAndCertificate{TextOf(key_text.get()), TextOf(text.get())};
}

absl::StatusOr<KeyAndCertificate> CertificateAuthority::pem() const { return Write(key_.get(), certificate_.get()); }

absl::StatusOr<KeyAndCertificate> CertificateAuthority::Sign(const CertificateRequest& request) const {
  std::string names;
  for (const std::string& host : request.hosts) {
    FLOWAWR_RETURN_IF_ERROR(CheckHost(host));
    absl::StrAppend(&names, names.empty() ? "" : ",", IsAddress(host) ? "IP:" : "DNS:", host);
  }
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  X509 *const made = certificate.get(), *const issuer = certificate_.get();
  const bool is_made =
      key != nullptr && X509_set_version(made, X509_VERSION_3) == 1 && SetSerial(made) &&
      SetTimes(made, request.lifetime, issuer) && SetSubject(made, request.name) &&
      X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1 && X509_set_pubkey(made, key.get()) == 1 &&
      Extend(made, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
      Extend(made, issuer, NID_key_usage, "critical,digitalSignature") &&
      Extend(made, issuer, NID_ext_key_usage, names.empty() ? "clientAuth" : "serverAuth,clientAuth") &&
      Extend(made, issuer, NID_subject_key_identifier, "hash") &&
      Extend(made, issuer, NID_authority_key_identifier, "keyid:always") &&
      (names.empty() || Extend(made, issuer, NID_subject_alt_name, names)) &&
      X509_sign(made, key_.get(), EVP_sha256()) > 0;
  if (!is_made) return Failed("making a certificate");
  return Write(key.get(), made);
}

}  // namespace flowawr
