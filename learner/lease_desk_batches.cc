// The run loop's side of the desk: leases offered, groups taken, pauses.
#include <algorithm>

#include "learner/lease_desk.h"
#include "learner/spec_change.h"

namespace flowawr {

void LeaseDesk::Offer(std::vector<v1::Lease> leases) {
  absl::MutexLock lock(&mutex_);
  for (v1::Lease& lease : leases) leases_.Offer(std::move(lease));
  Changed();
}

uint64_t LeaseDesk::SetRewardSpec(v1::RewardSpec spec) {
  absl::MutexLock lock(&mutex_);
  spec.clear_from_update();
  newest_spec_ = std::move(spec);
  MoveToNewestSpec(/*is_stuck=*/leases_.exhausted().has_value());
  Changed();
  return newest_spec_->from_update();
}

void LeaseDesk::MoveToNewestSpec(bool is_stuck) {
  using State = OutstandingGroup::State;
  std::vector<OutstandingGroup> training, evaluation;
  for (const uint64_t id : leases_.OpenGroups())
    (IsEvaluationGroup(id) ? evaluation : training)
        .push_back({id, leases_.Find(id)->reward_spec().version(),
                    leases_.IsGranted(id) ? State::kGranted : State::kWaiting});
  for (const Group& group : batches_.groups())
    training.push_back({group.id(), group.lease.reward_spec().version(), State::kScored});
  for (const auto& [id, group] : evaluation_)
    evaluation.push_back({id, group.lease.reward_spec().version(), State::kScored});
  const uint64_t newest = newest_spec_->version();
  std::set<uint64_t> moving;
  for (const uint64_t id : GroupsToMove(training, options_.batches.groups_per_batch, newest, is_stuck))
    moving.insert(id);
  const size_t kept = std::count_if(training.begin(), training.end(), [&](const OutstandingGroup& group) {
    return group.spec_version != newest && !moving.contains(group.group_id);
  });
  const uint64_t batch = options_.batches.groups_per_batch;
  const uint64_t trained = batches_.next_group() + batches_.consumed_above().size();  // or about to be
  const uint64_t from = (trained + kept + batch - 1) / batch + 1;
  if (newest_spec_->from_update() == 0 || from < newest_spec_->from_update()) newest_spec_->set_from_update(from);
  board_.Update([this](v1::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    *status.mutable_reward_spec() = *newest_spec_;
  });
  // An evaluation is one batch, whatever its size.
  for (const uint64_t id : GroupsToMove(evaluation, static_cast<int>(evaluation.size()), newest, is_stuck))
    moving.insert(id);
  std::vector<Group> scored = batches_.TakeGroups(moving);
  for (auto it = evaluation_.begin(); it != evaluation_.end();) {
    if (moving.contains(it->first)) {
      scored.push_back(std::move(it->second));
      it = evaluation_.erase(it);
    } else {
      ++it;
    }
  }
  for (Group& group : scored) {
    Drop("swapped");
    leases_.OfferAgain(std::move(group.lease));
  }
  for (const uint64_t id : moving) leases_.SetRewardSpec(id, *newest_spec_);
}

bool LeaseDesk::IsExhausted() {
  if (!leases_.exhausted()) return false;
  const v1::Lease* lease = leases_.Find(leases_.exhausted_group());
  if (lease == nullptr || !newest_spec_ || lease->reward_spec().version() == newest_spec_->version()) return true;
  MoveToNewestSpec(/*is_stuck=*/true);
  leases_.ResetAttempts();
  Changed();
  return false;
}

void LeaseDesk::MoveToNewestVersion(uint64_t oldest_version) {
  const std::shared_ptr<const StoredPolicy> newest = policies_.newest_behaviour();
  if (newest == nullptr) return;
  const uint64_t version = newest->header.policy().version();
  for (Group& stale : batches_.TakeStale(oldest_version)) {
    Drop("stale");
    stale.lease.set_policy_version(version);
    leases_.OfferAgain(std::move(stale.lease));
  }
  for (const uint64_t id : leases_.OpenGroups()) {
    if (IsEvaluationGroup(id) || leases_.Find(id)->policy_version() >= std::min(oldest_version, version)) continue;
    leases_.SetPolicyVersion(id, version);
    Changed();
  }
}

void LeaseDesk::WaitForChange() {
  const std::optional<absl::Time> expiry = leases_.NextExpiry();
  changed_.WaitWithTimeout(&mutex_, expiry ? *expiry - Now() : absl::InfiniteDuration());
}

std::optional<std::vector<Group>> LeaseDesk::WaitForBatch(uint64_t oldest_version) {
  absl::MutexLock lock(&mutex_);
  MoveToNewestVersion(oldest_version);
  while (!IsInterrupted()) {
    if (std::optional<std::vector<Group>> batch = batches_.Take()) {
      leases_.ForgetTrainingBelow(batches_.next_group());
      Changed();
      return batch;
    }
    if (leases_.Expire(Now()) > 0) Changed();
    if (IsExhausted()) break;
    WaitForChange();
  }
  return std::nullopt;
}

std::optional<std::vector<Group>> LeaseDesk::WaitForEvaluation(size_t count) {
  absl::MutexLock lock(&mutex_);
  evaluation_wanted_ = count;
  Changed();
  while (evaluation_.size() < count) {
    if (leases_.Expire(Now()) > 0) Changed();
    if (IsInterrupted() || IsExhausted()) return std::nullopt;
    WaitForChange();
  }
  std::vector<Group> groups;
  for (auto& [id, group] : evaluation_) groups.push_back(std::move(group));
  evaluation_.clear();
  evaluation_wanted_ = 0;
  Changed();
  return groups;
}

LeaseDesk::Consumed LeaseDesk::consumed() const {
  absl::MutexLock lock(&mutex_);
  return {batches_.next_group(), batches_.consumed_above()};
}

void LeaseDesk::Pause(const std::string& why, const std::string& cause) {
  absl::MutexLock lock(&mutex_);
  if (paused_because_ && cause == kOnRequest) return;
  paused_because_ = why;
  pause_cause_ = cause;
  is_interrupted_ = true;
  Changed();
}

void LeaseDesk::Resume() {
  absl::MutexLock lock(&mutex_);
  paused_because_.reset();
  leases_.ResetAttempts();
  is_interrupted_ = true;
  Changed();
}

bool LeaseDesk::is_paused() const {
  absl::MutexLock lock(&mutex_);
  return paused_because_.has_value();
}

void LeaseDesk::WaitWhilePaused() {
  absl::MutexLock lock(&mutex_);
  while (paused_because_ && !IsInterrupted()) changed_.Wait(&mutex_);
}

std::optional<std::string> LeaseDesk::exhausted() const {
  absl::MutexLock lock(&mutex_);
  return leases_.exhausted();
}

void LeaseDesk::Interrupt() {
  absl::MutexLock lock(&mutex_);
  is_interrupted_ = true;
  Changed();
}

}  // namespace flowawr
