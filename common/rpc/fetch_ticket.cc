#include "common/rpc/fetch_ticket.h"

#include "common/base/hmac.h"
#include "common/base/ids.h"
#include "common/base/sha256.h"

namespace flowawr {
namespace {

constexpr char kKeyHeader[] = "flowawr-fetch-key";
constexpr char kTicketHeader[] = "flowawr-fetch-ticket-bin";  // any bytes, by its ending
constexpr int kKeyBytes = 32;

}  // namespace

std::string NewFetchKey() { return RandomId(kKeyBytes); }

void GiveFetchKey(const std::string& key, grpc::CallbackServerContext* context) {
  context->AddTrailingMetadata(kKeyHeader, key);
}

std::string FetchKeyOf(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto found = metadata.find(kKeyHeader);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

void ShowTicket(const std::string& key, absl::string_view sha256, grpc::ClientContext* context) {
  context->AddMetadata(kTicketHeader, HmacSha256(key, sha256));
}

bool HasTicket(const std::string& key, absl::string_view sha256, const grpc::CallbackServerContext& context) {
  if (key.empty()) return false;
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kTicketHeader);
  return found != metadata.end() &&
         EqualInConstantTime(absl::string_view(found->second.data(), found->second.size()), HmacSha256(key, sha256));
}

v1::NetworkConfig WithoutTokens(v1::NetworkConfig network) {
  network.clear_token_file();
  network.clear_actor_token_file();
  network.clear_reward_token_file();
  network.clear_operator_token_file();
  network.clear_read_only_token_file();
  return network;
}

}  // namespace flowawr
