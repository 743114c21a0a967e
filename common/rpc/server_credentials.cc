#include "common/rpc/server_credentials.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/tls_files.h"
#include "common/rpc/token.h"
#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace flowawr {
namespace {

absl::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// The C core's hook for every incoming call of every service; `state` is the wanted header's digest.
void CheckToken(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
                grpc_process_auth_metadata_done_cb done, void* user_data) {
  const std::string& wanted = *static_cast<const std::string*>(state);
  for (size_t i = 0; i < count; ++i) {
    if (View(metadata[i].key) != "authorization") continue;
    // Digests have one length, so that the comparison tells nothing of the token's.
    if (EqualInConstantTime(Sha256(View(metadata[i].value)), wanted)) {
      done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_OK, nullptr);
    } else {
      done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_UNAUTHENTICATED,
           "the token is wrong; use the network.token_file that this server uses");
    }
    return;
  }
  done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_UNAUTHENTICATED,
       "this server wants a token; set network.token_file to the file that it uses");
}

// The C++ layer takes an auth processor with TLS only; the C core takes it with plain connections too.
class CoreServerCredentials : public grpc::ServerCredentials {
 public:
  // `tls`: key and certificate; null: plain. The base class brings the gRPC library up, which the core needs.
  explicit CoreServerCredentials(grpc_ssl_pem_key_cert_pair* tls)
      : core_(tls == nullptr ? grpc_insecure_server_credentials_create()
                             : grpc_ssl_server_credentials_create(nullptr, tls, 1, 0, nullptr)) {}
  ~CoreServerCredentials() override { grpc_server_credentials_release(core_); }

  void RequireToken(const std::string& token) {
    grpc_auth_metadata_processor processor;
    processor.process = CheckToken;
    processor.destroy = [](void* state) { delete static_cast<std::string*>(state); };
    processor.state = new std::string(Sha256(absl::StrCat("Bearer ", token)));
    grpc_server_credentials_set_auth_metadata_processor(core_, processor);
  }
  // Part of the base class; this project's only processor is the one above.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), core_);
  }

  grpc_server_credentials* const core_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const v1::NetworkConfig& network) {
  if (network.tls_cert().empty() != network.tls_key().empty())
    return absl::InvalidArgumentError("network.tls_cert and network.tls_key go together: set both or none");
  std::string token;
  if (!network.token_file().empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(token, ReadToken(network.token_file()));
  }
  std::shared_ptr<CoreServerCredentials> credentials;
  if (network.tls_cert().empty()) {
    credentials = std::make_shared<CoreServerCredentials>(nullptr);
  } else {
    FLOWAWR_ASSIGN_OR_RETURN(const TlsIdentity identity, ReadTlsIdentity(network));
    grpc_ssl_pem_key_cert_pair pair{identity.key.c_str(), identity.cert.c_str()};
    credentials = std::make_shared<CoreServerCredentials>(&pair);
  }
  if (!token.empty()) credentials->RequireToken(token);
  return credentials;
}

}  // namespace flowawr
