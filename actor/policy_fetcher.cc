#include "actor/policy_fetcher.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "actor/peer_client.h"
#include "common/base/clock.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kAnnouncedKept = 8;
// Whatever the learner says.
constexpr absl::Duration kSoonest = absl::Milliseconds(10), kLatest = absl::Seconds(5);

}  // namespace

PolicyFetcher::PolicyFetcher(Sources sources, HeldPolicies* held, ActorMetrics* metrics, absl::Duration patience)
    : sources_(std::move(sources)), held_(held), metrics_(*metrics), patience_(patience) {}

void PolicyFetcher::Announced(const v1::PolicyVersion& policy) {
  absl::MutexLock lock(&mutex_);
  announced_[policy.version()] = policy;
  if (announced_.size() > kAnnouncedKept) announced_.erase(announced_.begin());
}

void PolicyFetcher::ForgetAnnounced() {
  absl::MutexLock lock(&mutex_);
  announced_.clear();
}

std::optional<v1::PolicyVersion> PolicyFetcher::FindAnnounced(uint64_t version) const {
  absl::MutexLock lock(&mutex_);
  const auto found = announced_.find(version);
  return found == announced_.end() ? std::nullopt : std::optional(found->second);
}

absl::StatusOr<FetchedPolicy> PolicyFetcher::Fetch(uint64_t version, uint64_t max_bytes) {
  if (held_ == nullptr || held_->fetch_key().empty()) return FetchFromLearner(version, max_bytes);
  const std::optional<v1::PolicyVersion> announced = FindAnnounced(version);
  const bool may_be_a_peers = announced && announced->size() <= max_bytes;
  FLOWAWR_ASSIGN_OR_RETURN(FetchedPolicy fetched, may_be_a_peers ? FetchFromAnybody(*announced, max_bytes)
                                                                 : FetchFromLearner(version, max_bytes));
  held_->Add(fetched);
  return fetched;
}

absl::StatusOr<FetchedPolicy> PolicyFetcher::FetchFromAnybody(const v1::PolicyVersion& policy, uint64_t max_bytes) {
  const absl::Duration patience = patience_ + absl::Seconds(static_cast<double>(policy.size()) / kLeastPeerBytesPerSecond);
  const absl::Time give_up = MonotonicNow() + patience;
  std::vector<std::string> failed;
  while (failed.size() < kMostFailedPeers && MonotonicNow() < give_up) {
    FLOWAWR_ASSIGN_OR_RETURN(PolicyAnswer answer, sources_.find(policy.version(), max_bytes, failed));
    if (!answer.peer) {
      metrics_.CountPolicyFetch("learner");
      return std::move(answer.policy);
    }
    const std::string& endpoint = answer.peer->endpoint();
    if (endpoint.empty()) {
      const absl::Duration pause = std::clamp(absl::Seconds(answer.peer->retry_after_s()), kSoonest, kLatest);
      if (stopping_.WaitForNotificationWithTimeout(pause)) return absl::CancelledError("stopped");
      continue;
    }
    const absl::Time began = MonotonicNow();
    absl::StatusOr<FetchedPolicy> fetched = sources_.peer(endpoint, policy, give_up);
    if (stopping_.HasBeenNotified()) return absl::CancelledError("stopped");
    if (fetched.ok()) {
      metrics_.CountPolicyFetch("peer");
      return fetched;
    }
    metrics_.CountPeerFailure(PeerFailure(fetched.status()));
    spdlog::warn("policy version {} did not come from the actor at {}: {}", policy.version(), endpoint,
                 fetched.status().ToString());
    // One that was named late may be as good as any.
    const bool had_its_time = give_up - began >= patience / 2 || MonotonicNow() < give_up;
    if (had_its_time) failed.push_back(endpoint);
  }
  return FetchFromLearner(policy.version(), max_bytes, failed);
}

absl::StatusOr<FetchedPolicy> PolicyFetcher::FetchFromLearner(uint64_t version, uint64_t max_bytes,
                                                              const std::vector<std::string>& failed_peers) {
  FLOWAWR_ASSIGN_OR_RETURN(FetchedPolicy copy, sources_.learner(version, max_bytes, failed_peers));
  metrics_.CountPolicyFetch("learner");
  return copy;
}

}  // namespace flowawr
