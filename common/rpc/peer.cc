#include "common/rpc/peer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/server_credentials.h"

namespace flowawr {

std::string InstanceIdentity(const std::string& instance) { return absl::StrCat("process ", instance); }
std::string RunIdentity(const std::string& run_id) { return absl::StrCat("run ", run_id); }

void MeantFor(const std::string& identity, grpc::ClientContext* context) {
  if (!identity.empty()) context->AddMetadata(kPeerHeader, identity);
}

bool IsAnotherPeer(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), kAnotherPeer);
}

}  // namespace flowawr
