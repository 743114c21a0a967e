#include "common/rpc/server_credentials.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/peer.h"
#include "common/rpc/tls_files.h"
#include "common/rpc/token.h"
#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace flowawr {
namespace {

absl::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// Whom a server lets in.
struct Admission {
  std::string token_digest;             // of the wanted header; empty: no token
  std::vector<std::string> identities;  // empty: calls for anybody
};

// The answer to a call, a string that lasts for ever; null: it may pass.
const char* WhyRefused(const Admission& admission, const grpc_metadata* metadata, size_t count,
                       grpc_status_code* code) {
  const auto value_of = [&](absl::string_view key) {
    const auto* const found =
        std::find_if(metadata, metadata + count, [key](const grpc_metadata& entry) { return View(entry.key) == key; });
    return found == metadata + count ? nullptr : found;
  };
  if (!admission.token_digest.empty()) {
    *code = GRPC_STATUS_UNAUTHENTICATED;
    const grpc_metadata* const token = value_of("authorization");
    if (token == nullptr) return "this server wants a token; set network.token_file to the file that it uses";
    // Digests have one length, so that the comparison tells nothing of the token's.
    if (!EqualInConstantTime(Sha256(View(token->value)), admission.token_digest))
      return "the token is wrong; use the network.token_file that this server uses";
  }
  const grpc_metadata* const peer = value_of(kPeerHeader);
  if (peer == nullptr || admission.identities.empty()) return nullptr;
  *code = GRPC_STATUS_FAILED_PRECONDITION;
  const auto& known = admission.identities;
  return std::find(known.begin(), known.end(), View(peer->value)) == known.end() ? kAnotherPeer : nullptr;
}

// The C core's hook for every incoming call of every service; `state` is the Admission.
void Admit(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
           grpc_process_auth_metadata_done_cb done, void* user_data) {
  grpc_status_code code = GRPC_STATUS_OK;
  const char* const why = WhyRefused(*static_cast<const Admission*>(state), metadata, count, &code);
  done(user_data, nullptr, 0, nullptr, 0, why == nullptr ? GRPC_STATUS_OK : code, why);
}

// The C++ layer takes an auth processor with TLS only; the C core takes it with plain connections too.
class CoreServerCredentials : public grpc::ServerCredentials {
 public:
  // `tls`: key and certificate; null: plain. The base class brings the gRPC library up, which the core needs.
  explicit CoreServerCredentials(grpc_ssl_pem_key_cert_pair* tls)
      : core_(tls == nullptr ? grpc_insecure_server_credentials_create()
                             : grpc_ssl_server_credentials_create(nullptr, tls, 1, 0, nullptr)) {}
  ~CoreServerCredentials() override { grpc_server_credentials_release(core_); }

  void Require(Admission admission) {
    grpc_auth_metadata_processor processor;
    processor.process = Admit;
    processor.destroy = [](void* state) { delete static_cast<Admission*>(state); };
    processor.state = new Admission(std::move(admission));
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

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const v1::NetworkConfig& network, const std::vector<std::string>& identities) {
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
  if (!token.empty() || !identities.empty())
    credentials->Require({token.empty() ? "" : Sha256(absl::StrCat("Bearer ", token)), identities});
  return credentials;
}

}  // namespace flowawr
