#include "actor/reward_reach.h"

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

namespace flowawr {
namespace {

constexpr absl::Duration kConnect = absl::Seconds(3);

bool IsOnLoopback(const std::string& endpoint) {
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  return address.ok() && address->is_loopback();
}

absl::Status Connect(const std::string& address, const v1::NetworkConfig& network) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(address, network));
  if (channel->WaitForConnected(absl::ToChronoTime(absl::Now() + kConnect))) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(CheckTls(address, network));
  return absl::UnavailableError("nobody answers there");
}

}  // namespace

std::string RewardAddressFor(const std::string& endpoint, const std::string& learner) {
  const absl::StatusOr<HostPort> reward = ParseHostPort(endpoint), from = ParseHostPort(learner);
  if (!reward.ok() || !from.ok() || !reward->is_loopback() || from->is_loopback()) return endpoint;
  return HostPort{from->host, reward->port}.ToString();
}

RewardReach::RewardReach(std::string learner, v1::NetworkConfig network)
    : learner_(std::move(learner)), network_(std::move(network)), is_remote_(!IsOnLoopback(learner_)) {}

absl::Status RewardReach::Resolve(v1::RewardSpec& spec) {
  if (!is_remote_) return absl::OkStatus();
  for (v1::RewardSpecTerm& term : *spec.mutable_terms()) {
    const std::string given = term.endpoint();
    std::vector<std::string> addresses = EndpointsOf(given);
    for (std::string& address : addresses) address = RewardAddressFor(address, learner_);
    term.set_endpoint(absl::StrJoin(addresses, ","));
    if (!IsRequired(term) || reached_.contains(term.endpoint())) continue;
    absl::Status connected;
    for (const std::string& address : addresses)  // one of them will do
      if (connected = Connect(address, network_); connected.ok()) break;
    if (!connected.ok())
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
