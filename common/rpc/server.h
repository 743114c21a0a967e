// A gRPC server as every process runs one: health, reflection, bounded messages, memory and threads, TLS, token.
// Compressed messages are refused, as Unimplemented.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"

namespace flowawr {

struct ServerOptions {
  std::string listen;         // host:port; port 0: any free one
  v1::NetworkConfig network;  // TLS, token, message size
  std::vector<std::string> identities = {};  // what calls may be meant for, see peer.h; empty: anything
  // Calls of services that are not of the callback API hold one each; above it they end as ResourceExhausted.
  int max_threads = 512;
  // Clients connect again after this long, and look the server's name up when they do: servers that came to a name get
  // their share. Calls under way are finished.
  absl::Duration max_connection_age = absl::InfiniteDuration();
};

// Owns the server's threads; not the services, which must outlive it. Thread-safe.
class RpcServer {
 public:
  // Serving when it returns. Errors: PermissionDenied for an address outside loopback without TLS or
  // `network.insecure`; AlreadyExists when the port is taken; InvalidArgument for an address or file that is no good.
  //
  // With `network.token_file` or a token file of a role every call of every service must carry "authorization: Bearer
  // TOKEN", else it ends as UNAUTHENTICATED before a handler sees it, and as PERMISSION_DENIED when the token's role may
  // not call that (access.h). Tokens are compared in constant time and never logged. Files are followed while they change.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const ServerOptions& options,
                                                          const std::vector<grpc::Service*>& services);
  // Shutdown() without grace.
  ~RpcServer();

  // Where a client finds it, e.g. "127.0.0.1:41234". For a wildcard host, this machine's loopback address.
  const std::string& endpoint() const { return endpoint_; }

  // What the health service answers, of the server and of a part of it, such as "flowawr.scorer.ocr"; a part of which
  // it was never told is NOT_FOUND there.
  void SetServing(bool is_serving);
  void SetServing(const std::string& part, bool is_serving);

  // Answers NOT_SERVING, takes no new calls, waits up to `grace` for those under way, cancels the rest and returns when
  // every handler has returned. Harmless when repeated.
  void Shutdown(absl::Duration grace);

 private:
  RpcServer() = default;

  std::string endpoint_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // the server asks them at every connection
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace flowawr
