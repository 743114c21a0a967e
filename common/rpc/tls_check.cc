#include "common/rpc/tls_check.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/host_port.h"

namespace flowawr {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(3);
constexpr unsigned char kHttp2[] = {2, 'h', '2'};

template <typename T, void (*kFree)(T*)>
struct Free {
  void operator()(T* object) const { kFree(object); }
};
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX, SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Free<SSL, SSL_free>>;

bool Await(int fd, short events, absl::Time limit) {
  pollfd poll_fd = {fd, events, 0};
  const absl::Duration left = std::max(limit - MonotonicNow(), absl::ZeroDuration());
  return poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(left))) == 1;
}

// A connected socket that does not block; -1 when there is none to have.
int Connect(const HostPort& address, absl::Time limit) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found) != 0) return -1;
  absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol);
  if (fd < 0) return -1;
  int error = 0;
  socklen_t size = sizeof(error);
  if (connect(fd, found->ai_addr, found->ai_addrlen) == 0 ||
      (errno == EINPROGRESS && Await(fd, POLLOUT, limit) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
       error == 0))
    return fd;
  close(fd);
  return -1;
}

enum class Answer { kTls, kNoTls, kNone };

// OpenSSL works on memory, so that a write to a closed socket raises no SIGPIPE.
Answer Handshake(SSL* session, int fd, absl::Time limit) {
  BIO* const from_server = BIO_new(BIO_s_mem());
  BIO* const to_server = BIO_new(BIO_s_mem());
  SSL_set_bio(session, from_server, to_server);  // owns both
  SSL_set_connect_state(session);
  while (true) {
    ERR_clear_error();
    const int result = SSL_do_handshake(session);
    if (result == 1) return Answer::kTls;
    if (SSL_get_error(session, result) != SSL_ERROR_WANT_READ) return Answer::kNoTls;
    char buffer[16384];
    while (const int bytes = BIO_read(to_server, buffer, sizeof(buffer))) {
      if (bytes < 0) break;  // all is sent
      if (send(fd, buffer, bytes, MSG_NOSIGNAL) != bytes) return Answer::kNone;
    }
    if (!Await(fd, POLLIN, limit)) return Answer::kNone;
    const ssize_t bytes = recv(fd, buffer, sizeof(buffer), 0);
    if (bytes <= 0) return Answer::kNone;
    BIO_write(from_server, buffer, static_cast<int>(bytes));
  }
}

void ExpectHost(SSL* session, const std::string& host) {
  X509_VERIFY_PARAM* const parameters = SSL_get0_param(session);
  if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1) return;
  X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
  SSL_set_tlsext_host_name(session, host.c_str());
}

absl::Status Judge(Answer answer, long verified, const std::string& host, const v1::NetworkConfig& network) {
  const bool wants_tls = !network.tls_ca().empty();
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
    return absl::PermissionDeniedError(absl::StrCat("its certificate does not name ", host,
                                                    "; use a name that it has, or make one with ", host,
                                                    " among its subjectAltName"));
  if (verified != X509_V_OK)
    return absl::PermissionDeniedError(absl::StrCat("its certificate is not trusted (",
                                                    X509_verify_cert_error_string(verified), "); set network.tls_ca, ",
                                                    "now ", network.tls_ca(), ", to the authority that signed it"));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTls(const std::string& endpoint, const v1::NetworkConfig& network) {
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  if (!address.ok()) return absl::OkStatus();
  const absl::Time limit = MonotonicNow() + kTimeout;
  const int fd = Connect(*address, limit);
  if (fd < 0) return absl::OkStatus();
  absl::Cleanup close_fd = [fd] { close(fd); };
  const Context context(SSL_CTX_new(TLS_client_method()));
  if (!network.tls_ca().empty()) SSL_CTX_load_verify_locations(context.get(), network.tls_ca().c_str(), nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);  // verified, but a bad result does not end the handshake
  const Session session(SSL_new(context.get()));
  ExpectHost(session.get(), address->host);
  const Answer answer = Handshake(session.get(), fd, limit);
  const absl::Status found = Judge(answer, SSL_get_verify_result(session.get()), address->host, network);
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
