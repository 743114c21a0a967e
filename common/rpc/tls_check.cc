#include "common/rpc/tls_check.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/await_ready.h"
#include "common/base/clock.h"
#include "common/base/connect.h"
#include "common/base/host_port.h"

namespace flowawr {
namespace {

constexpr unsigned char kHttp2[] = {2, 'h', '2'};

template <typename T, void (*kFree)(T*)>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX, SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Free<SSL, SSL_free>>;

enum class Answer { kTls, kNoTls, kNone };

constexpr char kWantsCertificate[] =
    "it wants a certificate from its clients, and this one showed none that it could use; set network.mutual_tls: true, "
    "network.tls_cert and network.tls_key";
constexpr char kTakesNoSuchCertificate[] =
    "it does not take this client's certificate (network.tls_cert): that must be signed by an authority in the server's "
    "network.tls_ca, be within its time, and be meant for clients (extended key usage clientAuth)";

// What there was to see of a handshake.
struct Handshake {
  Answer answer = Answer::kNone;
  bool was_asked = false;              // for a certificate
  bool was_left = false;               // once it was over, by a server that had not said a word
  const char* objection = nullptr;     // an alert about this client's certificate
};

// The alert of a server that does not take what it was or was not shown; with TLS 1.3 it comes after the handshake.
const char* ObjectionInAlert() {
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return nullptr;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return kWantsCertificate;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
      return kTakesNoSuchCertificate;
    default:
      return nullptr;
  }
}

// OpenSSL works on memory, so that a write to a closed socket raises no SIGPIPE. A server that has nothing against its
// client begins to speak HTTP/2 after the handshake; gRPC's, when it has, hangs up without an alert.
void ShakeHands(SSL* session, int fd, absl::Time limit, Handshake& seen) {
  BIO* const from_server = BIO_new(BIO_s_mem());
  BIO* const to_server = BIO_new(BIO_s_mem());
  SSL_set_bio(session, from_server, to_server);  // owns both
  SSL_set_connect_state(session);
  while (true) {
    ERR_clear_error();
    char buffer[16384];
    const int result = SSL_read(session, buffer, sizeof(buffer));
    const bool is_over = SSL_is_init_finished(session);
    if (is_over) seen.answer = Answer::kTls;
    if (result > 0) return;
    if (SSL_get_error(session, result) != SSL_ERROR_WANT_READ) {
      seen.objection = ObjectionInAlert();
      if (!is_over) seen.answer = seen.objection == nullptr ? Answer::kNoTls : Answer::kTls;
      return;
    }
    while (const int bytes = BIO_read(to_server, buffer, sizeof(buffer))) {
      if (bytes < 0) break;  // all is sent
      if (send(fd, buffer, bytes, MSG_NOSIGNAL) != bytes) {
        seen.was_left = is_over;
        return;
      }
    }
    if (!AwaitReady(fd, POLLIN, limit).ok()) return;
    const ssize_t bytes = recv(fd, buffer, sizeof(buffer), 0);
    seen.was_left = bytes <= 0 && is_over;
    if (bytes <= 0) return;
    BIO_write(from_server, buffer, static_cast<int>(bytes));
  }
}

void ExpectName(SSL* session, const std::string& name) {
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(session);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) == 1) return;
  X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
  SSL_set_tlsext_host_name(session, name.c_str());
}

// `name`: what its certificate must carry.
absl::Status Judge(const Handshake& seen, long verified, const std::string& name, Callee callee,
                   const v1::NetworkConfig& network) {
  const bool wants_tls = !network.tls_ca().empty();
  const Answer answer = seen.answer;
  if (answer == Answer::kNone || (answer == Answer::kNoTls && !wants_tls)) return absl::OkStatus();
  if (answer == Answer::kNoTls)
    return absl::PermissionDeniedError(
        "it does not speak TLS, and network.tls_ca of this client asks for it; set network.tls_cert and "
        "network.tls_key where the server runs, or leave network.tls_ca out here");
  if (!wants_tls)
    return absl::PermissionDeniedError(
        "it speaks TLS, and this client does not; set network.tls_ca to the PEM file of the authority that signed its "
        "certificate (for a self-signed one, the certificate itself)");
  if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
    return absl::PermissionDeniedError(
        absl::StrCat("its certificate does not name ", name, "; use a name that it has",
                     callee == Callee::kActor ? " (network.peer_tls_name)" : "", ", or make one with ", name,
                     " among its subjectAltName"));
  if (verified != X509_V_OK)
    return absl::PermissionDeniedError(absl::StrCat("its certificate is not trusted (",
                                                    X509_verify_cert_error_string(verified), "); set network.tls_ca, ",
                                                    "now ", network.tls_ca(), ", to the authority that signed it"));
  if (seen.objection != nullptr) return absl::PermissionDeniedError(seen.objection);
  if (seen.was_asked && seen.was_left)
    return absl::PermissionDeniedError(network.mutual_tls() ? kTakesNoSuchCertificate : kWantsCertificate);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTls(const std::string& endpoint, const v1::NetworkConfig& network, Callee callee,
                      absl::Duration limit) {
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  if (!address.ok()) return absl::OkStatus();
  const absl::Time give_up = MonotonicNow() + limit;
  const absl::StatusOr<int> fd = Connect(*address, limit);
  if (!fd.ok()) return absl::OkStatus();
  const absl::Cleanup close_fd = [&fd] { close(*fd); };
  const Context context(SSL_CTX_new(TLS_client_method()));
  if (!network.tls_ca().empty()) SSL_CTX_load_verify_locations(context.get(), network.tls_ca().c_str(), nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);  // verified, but a bad result does not end the handshake
  if (network.mutual_tls()) {
    SSL_CTX_use_certificate_chain_file(context.get(), network.tls_cert().c_str());
    SSL_CTX_use_PrivateKey_file(context.get(), network.tls_key().c_str(), SSL_FILETYPE_PEM);
  }
  const Session session(SSL_new(context.get()));
  const std::string& name = CertificateName(callee, *address, network);
  ExpectName(session.get(), name);
  Handshake seen;
  const auto note_question = [](SSL*, void* handshake) {
    static_cast<Handshake*>(handshake)->was_asked = true;
    return 1;
  };
  SSL_set_cert_cb(session.get(), note_question, &seen);
  ShakeHands(session.get(), *fd, give_up, seen);
  const absl::Status found = Judge(seen, SSL_get_verify_result(session.get()), name, callee, network);
  ERR_clear_error();
  return found;
}

absl::Status ExplainFailure(const absl::Status& error, const std::string& endpoint, const v1::NetworkConfig& network) {
  absl::Status found = absl::IsUnavailable(error) ? CheckTls(endpoint, network) : error;
  if (found.ok()) found = error;
  if (!absl::IsPermissionDenied(found) && !absl::IsUnauthenticated(found)) return found;
  return absl::Status(found.code(), absl::StrCat(found.message(), "; --network-config names the file with `network`"));
}

}  // namespace flowawr
