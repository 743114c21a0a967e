// The pages of a process for browsers and Prometheus: GET only, bounded, with TLS if wanted.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct HttpRequest {
  std::string path;                                        // decoded, without the query; begins with "/"
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
};

struct HttpResponse {
  int code = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};  // more of them, such as Content-Security-Policy
};

// Called on one of the server's threads, on several at once. What it throws is answered as 500.
using HttpHandler = std::function<HttpResponse(const HttpRequest& request)>;

// PEM texts that belong together.
struct HttpIdentity {
  std::string key, cert;
};

struct HttpOptions {
  std::string listen;     // HOST:PORT; port 0: any free one. A name of this machine, an IPv4 or an IPv6 address
  bool insecure = false;  // may listen outside loopback without TLS
  // Null: no TLS. Else asked for every new connection, so that what it returns may change while the server runs.
  std::function<HttpIdentity()> identity = nullptr;
  // Null: everybody may look. Else whether this token lets one look; compares in constant time.
  std::function<bool(absl::string_view token)> admits = nullptr;
};

// Serves what handlers answer, and nothing else: no file, no method beside GET and HEAD, no request above 8 KiB, one
// request a connection, 64 connections at once, each for at most 10 seconds of waiting for its client. Answers are
// compressed for clients that take gzip. A token comes as "Authorization: Bearer TOKEN", or as the password of "Basic",
// which browsers ask people for; one in the address would be in logs and histories and is refused. On loopback, a
// request must name this machine by an address or as localhost: a web page that was opened under another name cannot
// read what is here.
//
// Owns its threads. Thread-safe.
class HttpServer {
 public:
  // Serving when it returns; a path without handler is 404. Errors: AlreadyExists when the port is taken;
  // PermissionDenied outside loopback with neither TLS nor `insecure`; InvalidArgument for an address or identity that is
  // no good.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpOptions options);
  // Ends what is under way, and returns when the last handler has.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Answers `path` with `handler` from now on, in place of another one; with a "/" at the end also everything below it.
  // Null: not any more. Returns when no call of the old one is under way; not to be called from a handler.
  void Handle(const std::string& path, HttpHandler handler);

  int port() const;
  // Where a client finds it, e.g. "127.0.0.1:41234". For a wildcard host, this machine's loopback address.
  const std::string& endpoint() const;
  bool has_tls() const;

 private:
  class Loop;
  explicit HttpServer(std::unique_ptr<Loop> loop);

  std::unique_ptr<Loop> loop_;
};

}  // namespace flowawr
