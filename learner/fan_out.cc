#include "learner/fan_out.h"

#include <algorithm>

#include "common/telemetry/metric_catalogue.h"

namespace flowawr {
namespace {

using Kind = PolicySource::Kind;

constexpr absl::Duration kForgotten = absl::Hours(1);
constexpr char kLearner[] = "learner", kPeer[] = "peer";

bool Names(const v1::FetchPolicyRequest& request, absl::string_view endpoint) {
  const auto& failed = request.failed_peers();
  return std::find(failed.begin(), failed.end(), endpoint) != failed.end();
}

}  // namespace

FanOut::FanOut(const PolicyShelf* policies, prometheus::Registry* registry, const Clock* clock)
    : policies_(*policies),
      clock_(*clock),
      fetches_(RegisterCounter(*registry, "flowawr_learner_policy_fetches_total")),
      bytes_(RegisterCounter(*registry, "flowawr_learner_policy_fetched_bytes_total")),
      failures_(RegisterCounter(*registry, "flowawr_learner_policy_peer_failures_total").Add({})) {
  for (const char* source : {kLearner, kPeer}) {
    fetches_.Add({{"source", source}});
    bytes_.Add({{"source", source}});
  }
}

void FanOut::Count(const char* source, uint64_t bytes) {
  fetches_.Add({{"source", source}}).Increment();
  bytes_.Add({{"source", source}}).Increment(static_cast<double>(bytes));
}

void FanOut::Join(const std::string& actor_id, const std::string& endpoint) {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  EndAttempt(actor_id);
  for (auto& [version, book] : versions_) book.holders.erase(actor_id);
  peers_.erase(actor_id);
  if (endpoint.empty()) return;
  if (peers_.size() >= kMostPeers)
    std::erase_if(peers_, [now](const auto& peer) { return now - peer.second.seen >= kForgotten; });
  if (peers_.size() < kMostPeers) peers_[actor_id] = {endpoint, now};
}

void FanOut::Leave(const std::string& actor_id) { Join(actor_id, ""); }

void FanOut::EndAttempt(const std::string& actor_id) {
  const auto attempt = attempts_.extract(actor_id);
  if (attempt.empty() || attempt.mapped().source.kind != Kind::kLearner) return;
  const auto book = versions_.find(attempt.mapped().version);
  if (book != versions_.end()) --book->second.copies;
}

FanOut::Version& FanOut::BookOf(uint64_t version) {
  if (const auto found = versions_.find(version); found != versions_.end()) return found->second;
  std::erase_if(versions_, [this](const auto& book) { return policies_.Find(book.first) == nullptr; });
  return versions_[version];
}

PolicySpread FanOut::SpreadFor(const v1::FetchPolicyRequest& request, const Version& book) const {
  PolicySpread spread;
  spread.copies = book.copies;
  std::map<absl::string_view, int> fetching;
  for (const auto& [actor_id, attempt] : attempts_) {
    if (attempt.source.kind == Kind::kPeer) ++fetching[attempt.source.endpoint];
    if (attempt.version != request.version()) continue;
    spread.copies_under_way += attempt.source.kind == Kind::kLearner;
    spread.fetching += attempt.source.kind == Kind::kPeer;
    spread.waiting += attempt.source.kind == Kind::kLater;
  }
  for (const std::string& holder : book.holders) {
    const auto peer = peers_.find(holder);
    if (peer == peers_.end() || holder == request.actor_id() || Names(request, peer->second.endpoint)) continue;
    PolicySpread::Holder& entry = spread.holders.emplace_back();
    entry.endpoint = peer->second.endpoint;
    if (const auto found = fetching.find(entry.endpoint); found != fetching.end()) entry.fetching = found->second;
    if (const auto found = book.by_endpoint.find(peer->second.endpoint); found != book.by_endpoint.end()) {
      entry.served = found->second.served;
      entry.failed = static_cast<int>(found->second.failed.size());
    }
  }
  spread.others_serve = peers_.size() > peers_.count(request.actor_id());
  return spread;
}

// Only whom it was told counts: no actor speaks ill of others.
void FanOut::HearOfFailure(const v1::FetchPolicyRequest& request) {
  const auto told = attempts_.find(request.actor_id());
  if (told == attempts_.end() || told->second.version != request.version()) return;
  const PolicySource& source = told->second.source;
  if (source.kind == Kind::kPeer && Names(request, source.endpoint) &&
      BookOf(request.version()).by_endpoint[source.endpoint].failed.insert(request.actor_id()).second)
    failures_.Increment();
}

void FanOut::TakeLearners(const v1::FetchPolicyRequest& request) {
  absl::MutexLock lock(&mutex_);
  HearOfFailure(request);
  EndAttempt(request.actor_id());
}

FanOut::Choice FanOut::Choose(const v1::FetchPolicyRequest& request) {
  const std::string& actor_id = request.actor_id();
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  std::erase_if(attempts_, [now](const auto& attempt) { return now - attempt.second.since >= kLongestFetch; });
  if (const auto peer = peers_.find(actor_id); peer != peers_.end()) peer->second.seen = now;
  Version& book = BookOf(request.version());
  HearOfFailure(request);
  EndAttempt(actor_id);
  Choice choice{ChoosePolicySource(SpreadFor(request, book))};
  if (choice.source.kind == Kind::kLearner) {
    ++book.copies;
    choice.copy = next_copy_++;
  }
  attempts_[actor_id] = {request.version(), choice.source, choice.copy, now};
  return choice;
}

void FanOut::CopyEnded(const std::string& actor_id, uint64_t copy, uint64_t bytes, bool is_whole) {
  if (is_whole) return Count(kLearner, bytes);
  absl::MutexLock lock(&mutex_);
  // It may have asked again before the end of this copy was noticed.
  const auto attempt = attempts_.find(actor_id);
  if (copy != 0 && attempt != attempts_.end() && attempt->second.copy == copy) EndAttempt(actor_id);
}

void FanOut::Adopted(const std::string& actor_id, const v1::PolicyVersion& policy) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = attempts_.find(actor_id);
      found != attempts_.end() && found->second.version == policy.version()) {
    const PolicySource& source = found->second.source;
    if (source.kind == Kind::kPeer) {
      ++BookOf(policy.version()).by_endpoint[source.endpoint].served;
      Count(kPeer, policy.size());
    }
    attempts_.erase(found);
  }
  const auto peer = peers_.find(actor_id);
  if (peer == peers_.end()) return;
  peer->second.seen = clock_.Now();
  BookOf(policy.version()).holders.insert(actor_id);
}

}  // namespace flowawr
