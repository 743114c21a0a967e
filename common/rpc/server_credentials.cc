#include "common/rpc/server_credentials.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/rpc/access.h"
#include "common/rpc/peer.h"
#include "common/rpc/rejects.h"
#include "common/rpc/tls_watch.h"
#include "common/rpc/token_book.h"
#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace flowawr {
namespace {

absl::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// Whom a server lets in.
struct Admission {
  std::shared_ptr<TokenBook> tokens;
  std::vector<std::string> identities;  // empty: calls for anybody
};

struct Refusal {
  grpc_status_code code;
  Reject reason;
  std::string why;
};

std::optional<Refusal> RefusalOf(const Admission& admission, const grpc_metadata* metadata, size_t count) {
  const auto value_of = [&](absl::string_view key) {
    const auto* const found =
        std::find_if(metadata, metadata + count, [key](const grpc_metadata& entry) { return View(entry.key) == key; });
    return found == metadata + count ? std::nullopt : std::optional(View(found->value));
  };
  if (!admission.tokens->is_open()) {
    std::optional<absl::string_view> token = value_of("authorization");
    if (!token)
      return Refusal{GRPC_STATUS_UNAUTHENTICATED, Reject::kNoToken,
                     "this server wants a token; set network.token_file to the file that it uses"};
    const std::optional<Role> role =
        absl::ConsumePrefix(&*token, "Bearer ") ? admission.tokens->RoleOf(*token) : std::nullopt;
    if (!role)
      return Refusal{GRPC_STATUS_UNAUTHENTICATED, Reject::kUnknownToken,
                     "the token is wrong; use the network.token_file that this server uses"};
    if (std::string why = WhyNot(*role, value_of(":path").value_or("")); !why.empty())
      return Refusal{GRPC_STATUS_PERMISSION_DENIED, Reject::kRole, std::move(why)};
  }
  const std::optional<absl::string_view> peer = value_of(kPeerHeader);
  const auto& known = admission.identities;
  if (!peer || known.empty() || std::find(known.begin(), known.end(), *peer) != known.end()) return std::nullopt;
  return Refusal{GRPC_STATUS_FAILED_PRECONDITION, Reject::kAnotherPeer, kAnotherPeer};
}

// The C core's hook for every incoming call of every service; `state` is the Admission.
void Admit(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
           grpc_process_auth_metadata_done_cb done, void* user_data) {
  const std::optional<Refusal> refusal = RefusalOf(*static_cast<const Admission*>(state), metadata, count);
  if (!refusal) return done(user_data, nullptr, 0, nullptr, 0, GRPC_STATUS_OK, nullptr);
  CountReject(refusal->reason);
  done(user_data, nullptr, 0, nullptr, 0, refusal->code, refusal->why.c_str());  // which copies it
}

// What the C core asks for at every new connection: the files as they are now, or that they are those it knows.
struct CertificateSource {
  std::shared_ptr<TlsWatch> watch;
  std::shared_ptr<const TlsMaterial> given;
};

grpc_ssl_certificate_config_reload_status FetchCertificates(void* source, grpc_ssl_server_certificate_config** config) {
  auto& state = *static_cast<CertificateSource*>(source);
  std::shared_ptr<const TlsMaterial> now = state.watch->Current();
  if (now == state.given) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair{now->identity.key.c_str(), now->identity.cert.c_str()};
  // The core wants authorities even where it asks for no client's certificate.
  const std::string& authorities = now->authorities.empty() ? now->identity.cert : now->authorities;
  *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
  state.given = std::move(now);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

// The C++ layer takes an auth processor with TLS only; the C core takes it with plain connections too.
class CoreServerCredentials : public grpc::ServerCredentials {
 public:
  // Plain. The base class brings the gRPC library up, which the core needs.
  CoreServerCredentials() : core_(grpc_insecure_server_credentials_create()) {}
  // With TLS.
  CoreServerCredentials(std::shared_ptr<TlsWatch> watch, bool is_mutual)
      : source_{.watch = std::move(watch), .given = nullptr},
        core_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                is_mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                          : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
                FetchCertificates, &source_))) {}
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

  CertificateSource source_;  // the core calls under a lock of its own
  grpc_server_credentials* const core_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const v1::NetworkConfig& network, const std::vector<std::string>& identities) {
  if (network.tls_cert().empty() != network.tls_key().empty())
    return absl::InvalidArgumentError("network.tls_cert and network.tls_key go together: set both or none");
  if (network.mutual_tls() && (network.tls_cert().empty() || network.tls_ca().empty()))
    return absl::InvalidArgumentError(
        "network.mutual_tls needs network.tls_cert and network.tls_key, and network.tls_ca to know clients by");
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<TokenBook> tokens, TokenBook::Open(network));
  std::shared_ptr<CoreServerCredentials> credentials;
  if (network.tls_cert().empty()) {
    credentials = std::make_shared<CoreServerCredentials>();
  } else {
    FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<TlsWatch> watch,
                             TlsWatch::Open(network, {.identity = true, .authorities = network.mutual_tls()}));
    credentials = std::make_shared<CoreServerCredentials>(std::move(watch), network.mutual_tls());
  }
  if (!tokens->is_open() || !identities.empty()) credentials->Require({std::move(tokens), identities});
  return credentials;
}

}  // namespace flowawr
