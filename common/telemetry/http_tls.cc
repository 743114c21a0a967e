#include "common/telemetry/http_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

namespace flowawr {
namespace {

template <typename T, auto kFree>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Free<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;

Bio Open(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

bool Use(const HttpIdentity& identity, SSL_CTX* context) {
  const Key key(PEM_read_bio_PrivateKey(Open(identity.key).get(), nullptr, nullptr, nullptr));
  const Bio chain = Open(identity.cert);
  const X509Ptr own(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (key == nullptr || own == nullptr) return false;
  if (SSL_CTX_use_certificate(context, own.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1) return false;
  while (X509* const link = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr))
    if (SSL_CTX_add0_chain_cert(context, link) != 1) {
      X509_free(link);
      return false;
    }
  return SSL_CTX_check_private_key(context) == 1;
}

}  // namespace

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeHttpTls(const HttpIdentity& identity) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  const bool is_usable = Use(identity, context.get());
  ERR_clear_error();  // the end of the chain is one as well
  if (!is_usable) return absl::InvalidArgumentError("certificate and key cannot be used for TLS");
  return context;
}

HttpTlsSession::HttpTlsSession(SSL_CTX* context) : session_(SSL_new(context)) {
  SSL_set_bio(session_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));  // owns both
  SSL_set_accept_state(session_);
}

bool HttpTlsSession::Receive(absl::string_view wire, std::string* plain) {
  ERR_clear_error();
  if (!wire.empty()) BIO_write(SSL_get_rbio(session_), wire.data(), static_cast<int>(wire.size()));
  char buffer[4096];
  while (true) {
    const int bytes = SSL_read(session_, buffer, sizeof(buffer));  // the handshake as well
    if (bytes > 0) {
      plain->append(buffer, bytes);
      continue;
    }
    const int error = SSL_get_error(session_, bytes);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN;
  }
}

bool HttpTlsSession::Finish(absl::string_view plain) {
  ERR_clear_error();
  size_t written = 0;
  const bool is_written = plain.empty() || SSL_write_ex(session_, plain.data(), plain.size(), &written) == 1;
  if (is_written) SSL_shutdown(session_);
  ERR_clear_error();
  return is_written;
}

void HttpTlsSession::TakeOutput(std::string* wire) {
  char buffer[16384];
  for (int bytes; (bytes = BIO_read(SSL_get_wbio(session_), buffer, sizeof(buffer))) > 0;) wire->append(buffer, bytes);
}

}  // namespace flowawr
