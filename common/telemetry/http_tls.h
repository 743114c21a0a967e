// The encryption of one HTTP connection, apart from its socket.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/telemetry/http_server.h"

namespace flowawr {

// A server's settings: TLS 1.2 or newer with this certificate. InvalidArgument when it cannot be used.
absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeHttpTls(const HttpIdentity& identity);

// OpenSSL works on memory, so that a write to a closed socket raises no SIGPIPE. Not thread-safe.
class HttpTlsSession {
 public:
  explicit HttpTlsSession(SSL_CTX* context);
  ~HttpTlsSession() { SSL_free(session_); }
  HttpTlsSession(const HttpTlsSession&) = delete;
  HttpTlsSession& operator=(const HttpTlsSession&) = delete;

  // Takes bytes from the wire and appends what they say to `plain`. False: the client speaks no TLS that we do.
  bool Receive(absl::string_view wire, std::string* plain);
  // Encrypts the whole answer and the end of the connection.
  bool Finish(absl::string_view plain);
  // What is to be sent now, appended to `wire`.
  void TakeOutput(std::string* wire);

 private:
  SSL* session_;
};

}  // namespace flowawr
