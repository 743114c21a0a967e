#include "learner/desk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

// Actors that start again under new names must not fill the memory. One that comes back later registers anew.
constexpr absl::Duration kForgotten = absl::Hours(1);
constexpr size_t kMostActors = 4096;
// A session that was silent for longer does not keep others from its actor's name.
constexpr int kHeartbeatsOfSilence = 2;

absl::Status NotRegistered(const std::string& actor_id) {
  return absl::FailedPreconditionError(absl::StrCat(
      "actor \"", actor_id, "\" is not registered with this learner; register with the run's model first"));
}

// Nobody trains on an evaluation group: its latents and embeddings, megabytes each, need not wait for the others.
void LeaveWhatIsEvaluated(Group& group) {
  group.x0 = at::Tensor();
  group.prompt_embeds = at::Tensor();
  group.pooled_prompt_embeds = at::Tensor();
  if (group.images.defined()) group.images = group.images.clone();  // no view of all that came
}

}  // namespace

Desk::Desk(Options options)
    : options_(std::move(options)),
      leases_(options_.leases),
      batches_(options_.batches, options_.next_group, options_.consumed_groups),
      policies_(options_.next_version, static_cast<size_t>(options_.batches.max_staleness) + 2) {
  leases_.ForgetTrainingBelow(options_.next_group);
}

void Desk::Changed() {
  ++generation_;
  changed_.SignalAll();
}

void Desk::Drop(const std::string& cause) {
  ++(*status_.mutable_dropped())[cause];
  Changed();
}

absl::Status Desk::Duplicate(uint64_t group_id) {
  Drop("duplicate");
  return absl::AlreadyExistsError(absl::StrCat("group ", group_id, " was accepted before"));
}

bool Desk::CanGrant() const { return !paused_because_ && !is_stopped_ && leases_.HasWaiting(); }

void Desk::WaitForChange(absl::Time until) {
  absl::Duration wait = until - MonotonicNow();
  if (const std::optional<absl::Time> expiry = leases_.NextExpiry()) wait = std::min(wait, *expiry - Now());
  changed_.WaitWithTimeout(&mutex_, wait);
}

Desk::Actor* Desk::FindActor(const std::string& actor_id) {
  const auto found = actors_.find(actor_id);
  return found == actors_.end() ? nullptr : &found->second;
}

bool Desk::Register(const std::string& actor_id, bool has_model) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(actors_, [this](const auto& item)
                             ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Now() - item.second.seen >= kForgotten; });
  Actor& actor = actors_[actor_id];
  actor.seen = Now();
  actor.may_lease = has_model;
  actor.was_told_finished = is_run_finished_;
  leases_.ReleaseActor(actor_id);
  Changed();
  return is_run_finished_;
}

absl::Status Desk::Claim(const std::string& actor_id, const std::string& session) {
  absl::MutexLock lock(&mutex_);
  if (Actor* actor = FindActor(actor_id)) {
    const absl::Duration silence = Now() - actor->seen;
    if (actor->session != session && !actor->has_lost_watch && silence < kHeartbeatsOfSilence * options_.heartbeat)
      return absl::AlreadyExistsError(absl::StrCat("actor \"", actor_id, "\" is alive, heard of ",
                                                   absl::FormatDuration(absl::Trunc(silence, absl::Milliseconds(1))),
                                                   " ago: give this one another --id, or stop that one"));
    actor->session = session;
    actor->has_lost_watch = false;
    return absl::OkStatus();
  }
  std::erase_if(actors_, [this](const auto& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return actors_.size() >= kMostActors && IsGone(item.second);
  });
  if (actors_.size() >= kMostActors)
    return absl::ResourceExhaustedError(absl::StrCat("this learner knows ", kMostActors, " live actors already"));
  actors_[actor_id].session = session;
  actors_[actor_id].seen = Now();
  return absl::OkStatus();
}

absl::Status Desk::CheckSession(const std::string& actor_id, const std::string& session) const {
  absl::MutexLock lock(&mutex_);
  const auto found = actors_.find(actor_id);
  // Whoever asks after the end of the run is told so, known or not.
  if (is_run_finished_ || (found != actors_.end() && found->second.session == session)) return absl::OkStatus();
  return NotRegistered(actor_id);
}

void Desk::SetWatching(const std::string& actor_id, const std::string& session, bool is_watching) {
  absl::MutexLock lock(&mutex_);
  Actor* actor = FindActor(actor_id);
  if (actor != nullptr && actor->session == session) actor->has_lost_watch = !is_watching;
}

std::vector<std::string> Desk::OthersThan(const std::string& actor_id) const {
  std::vector<std::string> others;
  for (const auto& [id, actor] : actors_)
    if (id != actor_id && actor.may_lease && !actor.has_lost_watch && !IsGone(actor)) others.push_back(id);
  return others;
}

absl::StatusOr<v1::AcquireLeaseResponse> Desk::Acquire(const std::string& actor_id, absl::Duration wait,
                                                       const std::function<bool()>& is_cancelled) {
  const absl::Time until = MonotonicNow() + wait;
  v1::AcquireLeaseResponse response;
  absl::MutexLock lock(&mutex_);
  if (Actor* actor = FindActor(actor_id)) actor->seen = Now();
  while (true) {
    if (is_cancelled()) return response;
    Actor* actor = FindActor(actor_id);
    if (is_run_finished_) {
      if (actor != nullptr) actor->was_told_finished = true;
      response.set_run_finished(true);
      Changed();
      return response;
    }
    if (actor == nullptr || !actor->may_lease) return NotRegistered(actor_id);
    if (leases_.Expire(Now()) > 0) Changed();
    if (CanGrant()) {
      if (std::optional<v1::Lease> lease = leases_.Grant(actor_id, v1::EVALUATION, Now(), OthersThan(actor_id))) {
        for (v1::RewardSpecTerm& term : *lease->mutable_reward_spec()->mutable_terms())
          if (term.endpoint().empty()) term.set_endpoint(options_.default_reward_endpoint);
        *response.mutable_lease() = *std::move(lease);
        Changed();
        return response;
      }
    }
    if (MonotonicNow() >= until || is_stopped_) return response;
    WaitForChange(until);
  }
}

absl::StatusOr<v1::RenewLeasesResponse> Desk::Renew(const v1::RenewLeasesRequest& request) {
  absl::MutexLock lock(&mutex_);
  Actor* actor = FindActor(request.actor_id());
  if (actor == nullptr) return NotRegistered(request.actor_id());
  actor->seen = Now();
  actor->stage_seconds = {request.stage_seconds().begin(), request.stage_seconds().end()};
  v1::RenewLeasesResponse response;
  for (const v1::LeaseRef& ref :
       leases_.Renew(request.actor_id(), {request.leases().begin(), request.leases().end()}, Now()))
    *response.add_dropped() = ref;
  response.set_run_finished(is_run_finished_);
  if (is_run_finished_) actor->was_told_finished = true;
  Changed();
  return response;
}

absl::Status Desk::Fail(const v1::FailLeaseRequest& request) {
  const std::string label = FailureLabel(request.cause());
  absl::MutexLock lock(&mutex_);
  FLOWAWR_RETURN_IF_ERROR(
      request.is_handed_back()
          ? leases_.HandBack(request.actor_id(), request.lease())
          : leases_.Fail(request.actor_id(), request.lease(),
                         absl::StrCat(label, " (actor ", request.actor_id(), "): ", FailureText(request.message())),
                         Now(), /*is_actors_fault=*/label != "reward_bad_input"));
  Drop(label);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Desk::CheckSubmission(const v1::GroupHeader& header) {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = header.lease().group_id();
  switch (leases_.StandingOf(id)) {
    case LeaseBook::Standing::kCompleted:
      return Duplicate(id);
    case LeaseBook::Standing::kUnknown:
      Drop("unknown_lease");
      return absl::NotFoundError(absl::StrCat("group ", id, " was never leased, or its lease was withdrawn"));
    case LeaseBook::Standing::kOpen:
      break;
  }
  if (!leases_.WasGranted(header.actor_id(), header.lease())) {
    Drop("not_leased");
    return absl::PermissionDeniedError(absl::StrCat("group ", id, " attempt ", header.lease().attempt(),
                                                    " was never leased to actor \"", header.actor_id(), "\""));
  }
  const v1::Lease& lease = *leases_.Find(id);
  if (newest_spec_ && header.reward_spec_version() < lease.reward_spec().version()) {
    Drop("swapped");
    return absl::NotFoundError(absl::StrCat("group ", id, " was leased anew when the rewards were swapped"));
  }
  const std::shared_ptr<const StoredPolicy> policy = policies_.Find(lease.policy_version());
  if (policy == nullptr)
    return absl::InternalError(absl::StrCat("policy version ", lease.policy_version(), " of group ", id, " is gone"));
  const Refusal refusal = CheckHeader(header, lease, policy->header.policy(), options_.shape);
  if (!refusal.status.ok()) {
    Drop(refusal.cause);
    return refusal.status;
  }
  return options_.shape.MaxBlobBytes(lease.samples(), lease.wants_images());
}

absl::Status Desk::Accept(const v1::GroupHeader& header, std::string blob) {
  const uint64_t id = header.lease().group_id();
  v1::Lease lease;
  {
    absl::MutexLock lock(&mutex_);
    const v1::Lease* open = leases_.Find(id);
    // While the blob travelled, another attempt may have come in and the lease be open again under a newer version.
    if (open == nullptr || open->policy_version() != header.policy_version() ||
        open->reward_spec().version() != header.reward_spec_version())
      return Duplicate(id);
    lease = *open;
  }
  std::string cause;
  absl::StatusOr<Group> group = DecodeGroup(header, std::move(blob), lease, options_.shape, &cause);
  if (group.ok() && IsEvaluationGroup(id)) LeaveWhatIsEvaluated(*group);
  absl::MutexLock lock(&mutex_);
  if (!group.ok()) {
    Drop(cause);
    return group.status();
  }
  const v1::Lease* open = leases_.Find(id);
  if (open == nullptr || open->policy_version() != lease.policy_version() ||
      open->reward_spec().version() != lease.reward_spec().version())
    return Duplicate(id);
  leases_.Complete(id, header.actor_id());
  if (Actor* actor = FindActor(header.actor_id())) {
    actor->seen = Now();
    ++actor->groups;
  }
  if (IsEvaluationGroup(id)) {
    evaluation_.insert_or_assign(id, *std::move(group));
  } else {
    status_.set_groups_accepted(status_.groups_accepted() + 1);
    status_.set_samples_accepted(status_.samples_accepted() + lease.samples());
    batches_.Add(*std::move(group));
  }
  Changed();
  return absl::OkStatus();
}

void Desk::CountDrop(const std::string& cause) {
  absl::MutexLock lock(&mutex_);
  Drop(cause);
}

std::shared_ptr<const StoredPolicy> Desk::WaitForBehaviour(uint64_t after, absl::Duration wait) {
  const absl::Time until = MonotonicNow() + wait;
  absl::MutexLock lock(&mutex_);
  while (true) {
    const std::shared_ptr<const StoredPolicy> newest = policies_.newest_behaviour();
    if (newest != nullptr && newest->header.policy().version() > after) return newest;
    const absl::Duration left = until - MonotonicNow();
    if (left <= absl::ZeroDuration() || is_stopped_) return nullptr;
    changed_.WaitWithTimeout(&mutex_, left);
  }
}

std::shared_ptr<const StoredPolicy> Desk::FindPolicy(uint64_t version) const {
  absl::MutexLock lock(&mutex_);
  return policies_.Find(version);
}

absl::Status Desk::ReportAdoption(const v1::ReportAdoptionRequest& request) {
  absl::MutexLock lock(&mutex_);
  const std::shared_ptr<const StoredPolicy> stored = policies_.Find(request.version());
  if (stored == nullptr) return absl::NotFoundError(absl::StrCat("policy version ", request.version(), " is not kept"));
  const v1::PolicyVersion& policy = stored->header.policy();
  if (request.sha256() != policy.sha256() || request.bound_modules() != policy.modules() || policy.modules() == 0) {
    Drop("adoption_refused");
    return absl::FailedPreconditionError(absl::StrCat(
        "actor ", request.actor_id(), " bound ", request.bound_modules(), " of ", policy.modules(),
        " modules of version ", request.version(), request.sha256() == policy.sha256() ? "" : " and its digest differs",
        ": it must not sample with it"));
  }
  if (Actor* actor = FindActor(request.actor_id())) actor->adopted_version = request.version();
  Changed();
  return absl::OkStatus();
}

v1::Status Desk::Snapshot() const {
  v1::Status status = status_;
  for (const auto& [id, actor] : actors_) {
    if (IsGone(actor)) continue;
    v1::ActorStatus& out = *status.add_actors();
    out.set_actor_id(id);
    out.set_groups(actor.groups);
    out.set_seconds_since_seen(absl::ToDoubleSeconds(Now() - actor.seen));
    out.set_adopted_version(actor.adopted_version);
    out.mutable_stage_seconds()->insert(actor.stage_seconds.begin(), actor.stage_seconds.end());
  }
  for (const std::string& sentence : leases_.ActorsSetAside(Now())) status.add_warnings(sentence);
  status.set_open_leases(static_cast<uint32_t>(leases_.granted()));
  status.set_batch_groups(static_cast<uint32_t>(batches_.ready()));
  if (evaluation_wanted_ > 0) {
    status.set_evaluation_groups(static_cast<uint32_t>(evaluation_.size()));
    status.set_evaluation_groups_total(static_cast<uint32_t>(evaluation_wanted_));
  }
  if (ShowsPaused()) {
    status.set_phase(v1::PAUSED);
    status.set_message(*paused_because_);
  }
  return status;
}

bool Desk::ShowsPaused() const {
  return paused_because_ && status_.phase() != v1::FINISHED && status_.phase() != v1::FAILED;
}

v1::Status Desk::status() const {
  absl::MutexLock lock(&mutex_);
  return Snapshot();
}

v1::RunPhase Desk::phase() const {
  absl::MutexLock lock(&mutex_);
  return ShowsPaused() ? v1::PAUSED : status_.phase();
}

std::optional<double> Desk::heldout_reward() const {
  absl::MutexLock lock(&mutex_);
  return status_.latest().has_reward_mean() ? std::optional(status_.latest().reward_mean()) : std::nullopt;
}

std::map<std::string, uint64_t> Desk::dropped() const {
  absl::MutexLock lock(&mutex_);
  return {status_.dropped().begin(), status_.dropped().end()};
}

std::map<std::string, double> Desk::learner_seconds() const {
  absl::MutexLock lock(&mutex_);
  return {status_.learner_seconds().begin(), status_.learner_seconds().end()};
}

std::map<std::string, std::map<std::string, double>> Desk::actor_seconds() const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, std::map<std::string, double>> seconds;
  for (const auto& [id, actor] : actors_)
    if (!IsGone(actor)) seconds[id] = actor.stage_seconds;
  return seconds;
}

v1::Status Desk::WaitForStatus(uint64_t* seen, absl::Time not_before, absl::Duration wait) const {
  const absl::Time until = MonotonicNow() + wait;
  absl::MutexLock lock(&mutex_);
  while (!is_stopped_ && MonotonicNow() < until) {
    const bool is_early = MonotonicNow() < not_before;
    if (!is_early && *seen != generation_) break;
    changed_.WaitWithTimeout(&mutex_, (is_early ? std::min(until, not_before) : until) - MonotonicNow());
  }
  *seen = generation_;
  return Snapshot();
}

void Desk::UpdateStatus(const std::function<void(v1::Status&)>& change) {
  absl::MutexLock lock(&mutex_);
  change(status_);
  Changed();
}

absl::StatusOr<std::shared_ptr<const StoredPolicy>> Desk::Publish(const LoraAdapter& adapter, v1::PolicyRole role,
                                                                  uint64_t update) {
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<std::shared_ptr<const StoredPolicy>> stored = policies_.Publish(adapter, role, update);
  Changed();
  return stored;
}

uint64_t Desk::next_version() const {
  absl::MutexLock lock(&mutex_);
  return policies_.next_version();
}

void Desk::Offer(std::vector<v1::Lease> leases) {
  absl::MutexLock lock(&mutex_);
  for (v1::Lease& lease : leases) leases_.Offer(std::move(lease));
  Changed();
}

void Desk::SetRewardSpec(const v1::RewardSpec& spec) {
  absl::MutexLock lock(&mutex_);
  newest_spec_ = spec;
  *status_.mutable_reward_spec() = spec;
  MoveToNewestSpec(/*is_stuck=*/leases_.exhausted().has_value());
  Changed();
}

void Desk::MoveToNewestSpec(bool is_stuck) {
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

bool Desk::IsExhausted() {
  if (!leases_.exhausted()) return false;
  const v1::Lease* lease = leases_.Find(leases_.exhausted_group());
  if (lease == nullptr || !newest_spec_ || lease->reward_spec().version() == newest_spec_->version()) return true;
  MoveToNewestSpec(/*is_stuck=*/true);
  leases_.ResetAttempts();
  Changed();
  return false;
}

std::optional<std::vector<Group>> Desk::WaitForBatch(uint64_t oldest_version) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    for (Group& stale : batches_.TakeStale(oldest_version)) {
      Drop("stale");
      stale.lease.set_policy_version(policies_.newest_behaviour()->header.policy().version());
      leases_.OfferAgain(std::move(stale.lease));
    }
    if (is_stopped_ || std::exchange(is_interrupted_, false)) return std::nullopt;
    if (std::optional<std::vector<Group>> batch = batches_.Take()) {
      leases_.ForgetTrainingBelow(batches_.next_group());
      Changed();
      return batch;
    }
    if (leases_.Expire(Now()) > 0) Changed();
    if (IsExhausted()) return std::nullopt;
    WaitForChange(absl::InfiniteFuture());
  }
}

std::optional<std::vector<Group>> Desk::WaitForEvaluation(size_t count) {
  absl::MutexLock lock(&mutex_);
  evaluation_wanted_ = count;
  while (evaluation_.size() < count) {
    if (leases_.Expire(Now()) > 0) Changed();
    if (is_stopped_ || std::exchange(is_interrupted_, false) || IsExhausted()) return std::nullopt;
    WaitForChange(absl::InfiniteFuture());
  }
  std::vector<Group> groups;
  for (auto& [id, group] : evaluation_) groups.push_back(std::move(group));
  evaluation_.clear();
  evaluation_wanted_ = 0;
  return groups;
}

uint64_t Desk::next_group() const {
  absl::MutexLock lock(&mutex_);
  return batches_.next_group();
}

std::set<uint64_t> Desk::consumed_groups() const {
  absl::MutexLock lock(&mutex_);
  return batches_.consumed_above();
}

void Desk::Pause(const std::string& why) {
  absl::MutexLock lock(&mutex_);
  paused_because_ = why;
  is_interrupted_ = true;
  Changed();
}

void Desk::Resume() {
  absl::MutexLock lock(&mutex_);
  paused_because_.reset();
  leases_.ResetAttempts();
  is_interrupted_ = true;
  Changed();
}

bool Desk::is_paused() const {
  absl::MutexLock lock(&mutex_);
  return paused_because_.has_value();
}

void Desk::WaitWhilePaused() {
  absl::MutexLock lock(&mutex_);
  while (paused_because_ && !is_stopped_ && !std::exchange(is_interrupted_, false)) changed_.Wait(&mutex_);
}

std::optional<std::string> Desk::exhausted() const {
  absl::MutexLock lock(&mutex_);
  return leases_.exhausted();
}

void Desk::Interrupt() {
  absl::MutexLock lock(&mutex_);
  is_interrupted_ = true;
  Changed();
}

void Desk::Stop(bool is_run_finished) {
  absl::MutexLock lock(&mutex_);
  is_stopped_ = true;
  is_run_finished_ = is_run_finished;
  Changed();
}

bool Desk::is_stopped() const {
  absl::MutexLock lock(&mutex_);
  return is_stopped_;
}

bool Desk::WaitForActorsToLeave(absl::Duration at_most) {
  const absl::Time until = MonotonicNow() + at_most;
  absl::MutexLock lock(&mutex_);
  while (true) {
    absl::Duration wait = until - MonotonicNow();
    bool is_anyone_untold = false;
    for (const auto& [id, actor] : actors_) {
      if (actor.was_told_finished || IsGone(actor)) continue;
      is_anyone_untold = true;
      wait = std::min(wait, actor.seen + kGone - Now());
    }
    if (!is_anyone_untold) return true;
    if (MonotonicNow() >= until) return false;
    changed_.WaitWithTimeout(&mutex_, wait);
  }
}

}  // namespace flowawr
