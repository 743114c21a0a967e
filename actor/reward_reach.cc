#include "actor/reward_reach.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/reward_terms.h"
#include "grpcpp/channel.h"
#include "grpcpp/completion_queue.h"

namespace flowawr {
namespace {

bool IsOnLoopback(const std::string& endpoint) {
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  return address.ok() && address->is_loopback();
}

// How far connecting has come: as far as the one that came furthest.
enum class Reached { kRefused, kNothingYet, kConnected };

// Until one is connected, all have failed or `at_most` is over.
Reached AwaitConnection(std::vector<std::shared_ptr<grpc::Channel>> channels, absl::Duration at_most) {
  const auto deadline = absl::ToChronoTime(absl::Now() + at_most);
  grpc::CompletionQueue changes;
  Reached reached = Reached::kRefused;
  size_t watched = 0;
  const auto look = [&](size_t i) {
    const grpc_connectivity_state state = channels[i]->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) reached = Reached::kConnected;
    if (state != GRPC_CHANNEL_IDLE && state != GRPC_CHANNEL_CONNECTING) return;
    channels[i]->NotifyOnStateChange(state, deadline, &changes, reinterpret_cast<void*>(i));
    ++watched;
  };
  for (size_t i = 0; i < channels.size(); ++i) look(i);
  void* tag = nullptr;
  bool has_changed = false;
  while (reached != Reached::kConnected && watched > 0 && changes.Next(&tag, &has_changed)) {
    --watched;
    if (has_changed)
      look(reinterpret_cast<size_t>(tag));
    else
      reached = Reached::kNothingYet;
  }
  channels.clear();  // ends what is still watched
  changes.Shutdown();
  while (changes.Next(&tag, &has_changed)) continue;
  return reached;
}

// Whether any of them can be reached.
absl::Status Connect(const std::vector<std::string>& addresses, const v1::NetworkConfig& network,
                     absl::Duration at_most) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (const std::string& address : addresses) {
    FLOWAWR_ASSIGN_OR_RETURN(channels.emplace_back(), MakeChannel(address, network));
  }
  const Reached reached = AwaitConnection(std::move(channels), at_most);
  if (reached == Reached::kConnected) return absl::OkStatus();
  for (const std::string& address : addresses) FLOWAWR_RETURN_IF_ERROR(CheckTls(address, network));
  if (reached == Reached::kRefused) return absl::UnavailableError("nobody answers there");
  return absl::UnavailableError(absl::StrCat("no connection within ", absl::FormatDuration(at_most),
                                             ": the host is off, a firewall swallows what is sent, or names are looked "
                                             "up very slowly"));
}

}  // namespace

std::string RewardAddressFor(const std::string& endpoint, const std::string& learner) {
  const absl::StatusOr<HostPort> reward = ParseHostPort(endpoint), from = ParseHostPort(learner);
  if (!reward.ok() || !from.ok() || !reward->is_loopback() || from->is_loopback()) return endpoint;
  return HostPort{from->host, reward->port}.ToString();
}

RewardReach::RewardReach(std::string learner, v1::NetworkConfig network, absl::Duration patience)
    : learner_(std::move(learner)),
      network_(std::move(network)),
      patience_(patience),
      is_remote_(!IsOnLoopback(learner_)) {}

absl::Status RewardReach::Resolve(v1::RewardSpec& spec) {
  if (!is_remote_) return absl::OkStatus();
  for (v1::RewardSpecTerm& term : *spec.mutable_terms()) {
    const std::string given = term.endpoint();
    std::vector<std::string> addresses = EndpointsOf(given);
    for (std::string& address : addresses) address = RewardAddressFor(address, learner_);
    term.set_endpoint(absl::StrJoin(addresses, ","));
    if (!IsRequired(term) || reached_.contains(term.endpoint())) continue;
    if (const absl::Status connected = Connect(addresses, network_, patience_); !connected.ok())
      return absl::UnavailableError(absl::StrCat(
          "this actor cannot reach the reward server of ", term.scorer(), " at ", term.endpoint(),
          given == term.endpoint() ? "" : absl::StrCat(" (", given, " on the learner's machine)"), ": ",
          connected.message(), ". Where the run is started, set network.reward_listen to an address that other machines "
          "reach, such as 0.0.0.0:50052, or the term's endpoint to the server's address as seen from here"));
    reached_.insert(term.endpoint());
  }
  return absl::OkStatus();
}

}  // namespace flowawr
