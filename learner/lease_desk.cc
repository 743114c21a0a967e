#include "learner/lease_desk.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "learner/default_endpoint.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

void Log(bool is_trouble, const std::string& line) {
  spdlog::log(is_trouble ? spdlog::level::warn : spdlog::level::info, "{}", line);
}

// Nobody trains on an evaluation group: its latents and embeddings, megabytes each, need not wait for the others.
void LeaveWhatIsEvaluated(Group& group) {
  GroupTensors left;
  if (group.images.defined()) left.images = group.images.clone();  // no view of all that came
  static_cast<GroupTensors&>(group) = std::move(left);
}

}  // namespace

LeaseDesk::LeaseDesk(Options options, PolicyShelf* policies, StatusBoard* board)
    : options_(std::move(options)),
      policies_(*policies),
      board_(*board),
      leases_(options_.leases),
      actors_(options_.heartbeat),
      batches_(options_.batches, options_.next_group, options_.consumed_groups),
      dispatcher_([this](Dispatcher::Answers& answers) { return Answer(answers); }) {
  {
    absl::MutexLock lock(&mutex_);
    leases_.ForgetTrainingBelow(options_.next_group);
  }
  board_.Show(*this);
}

LeaseDesk::~LeaseDesk() {
  board_.Hide(*this);
  absl::MutexLock lock(&mutex_);
  is_stopped_ = true;
  Changed();
}

void LeaseDesk::Changed() {
  changed_.SignalAll();
  dispatcher_.Wake();
  board_.Touch();
}

void LeaseDesk::Drop(const std::string& cause) {
  ++dropped_[cause];
  Changed();
}

void LeaseDesk::CountDrop(const std::string& cause) {
  absl::MutexLock lock(&mutex_);
  Drop(cause);
}

// ---- actors

bool LeaseDesk::Register(const std::string& actor_id, bool has_model, const std::string& address) {
  absl::MutexLock lock(&mutex_);
  const int released = leases_.ReleaseActor(actor_id);
  actors_.Register(actor_id, has_model, address, released, Now()).was_told_finished = is_run_finished_;
  Changed();
  return is_run_finished_;
}

absl::Status LeaseDesk::Claim(const std::string& actor_id, const std::string& session) {
  std::vector<LeaseWaits::OnLease> ended;
  {
    absl::MutexLock lock(&mutex_);
    FLOWAWR_ASSIGN_OR_RETURN(const bool is_new_session, actors_.Claim(actor_id, session, Now()));
    if (is_new_session) ended = waits_.TakeOf(actor_id);
    dispatcher_.Wake();  // for news
  }
  for (LeaseWaits::OnLease& done : ended) done(NotRegistered(actor_id));
  return absl::OkStatus();
}

absl::Status LeaseDesk::CheckSession(const std::string& actor_id, const std::string& session) const {
  absl::MutexLock lock(&mutex_);
  // Whoever asks after the end of the run is told so, known or not.
  return is_run_finished_ || actors_.IsOf(actor_id, session) ? absl::OkStatus() : NotRegistered(actor_id);
}

ActorBook::WatchId LeaseDesk::BeginWatch(const std::string& actor_id, const std::string& session) {
  absl::MutexLock lock(&mutex_);
  return actors_.BeginWatch(actor_id, session);
}

void LeaseDesk::EndWatch(const std::string& actor_id, ActorBook::WatchId watch) {
  absl::MutexLock lock(&mutex_);
  actors_.EndWatch(actor_id, watch);
}

absl::Status LeaseDesk::ReportAdoption(const v1::ReportAdoptionRequest& request) {
  const absl::Status adopted = policies_.CheckAdoption(request);
  absl::MutexLock lock(&mutex_);
  if (absl::IsFailedPrecondition(adopted)) Drop("adoption_refused");
  FLOWAWR_RETURN_IF_ERROR(adopted);
  if (ActorBook::Actor* actor = actors_.Find(request.actor_id())) actor->adopted_version = request.version();
  Changed();
  return absl::OkStatus();
}

void LeaseDesk::Leave(const std::string& actor_id) {
  absl::MutexLock lock(&mutex_);
  if (!actors_.Leave(actor_id, Now())) return;
  leases_.ReleaseActor(actor_id);
  Changed();
}

// ---- waiting for leases

bool LeaseDesk::CanGrant() const { return !paused_because_ && !is_stopped_ && leases_.HasWaiting(); }

std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> LeaseDesk::TryAcquire(const std::string& actor_id) {
  v1::AcquireLeaseResponse response;
  ActorBook::Actor* actor = actors_.Find(actor_id);
  if (is_run_finished_) {
    if (actor != nullptr) actor->was_told_finished = true;
    response.set_run_finished(true);
    Changed();
    return response;
  }
  if (actor == nullptr || !actor->may_lease) return NotRegistered(actor_id);
  if (is_stopped_) return response;
  if (!CanGrant()) return std::nullopt;
  std::optional<v1::Lease> lease = leases_.Grant(actor_id, v1::EVALUATION, Now(), actors_.OthersThan(actor_id, Now()));
  if (!lease) return std::nullopt;
  FillInEndpoints(options_.default_reward_endpoint, lease->mutable_reward_spec());
  *response.mutable_lease() = *std::move(lease);
  Changed();
  return response;
}

WaitTicket LeaseDesk::Acquire(const std::string& actor_id, absl::Duration wait, LeaseWaits::OnLease done) {
  std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> answer;
  {
    absl::MutexLock lock(&mutex_);
    ActorBook::Actor* const actor = actors_.Find(actor_id);
    if (actor != nullptr) actors_.Heard(actor_id, *actor, Now());
    if (leases_.Expire(Now()) > 0) Changed();
    // Those who wait already come first.
    if (waits_.empty() || is_stopped_) answer = TryAcquire(actor_id);
    if (!answer && (actor == nullptr || !actor->may_lease)) answer = NotRegistered(actor_id);
    // What those who wait are kept from may still be this one's.
    const bool may_be_granted = !waits_.empty() && CanGrant();
    if (!answer && wait <= absl::ZeroDuration() && !may_be_granted) answer = v1::AcquireLeaseResponse();
    if (!answer && waits_.count_of(actor_id) >= kMaxWaitsOfAnActor)
      answer = absl::ResourceExhaustedError(
          absl::StrCat("actor \"", actor_id, "\" waits for ", kMaxWaitsOfAnActor, " leases already"));
    if (!answer && waits_.size() >= kMaxWaits)
      answer = absl::ResourceExhaustedError("too many callers wait already; try again");
    dispatcher_.Wake();  // for who waits now, and for news
    if (!answer) return waits_.Add(actor_id, MonotonicNow() + wait, std::move(done));
  }
  done(*std::move(answer));
  return 0;
}

void LeaseDesk::CancelWait(WaitTicket ticket) {
  LeaseWaits::OnLease done;
  {
    absl::MutexLock lock(&mutex_);
    if (!waits_.contains(ticket)) return;
    done = waits_.Take(ticket);
  }
  done(absl::CancelledError("the caller has gone"));
}

void LeaseDesk::AnswerWaits(Dispatcher::Answers& answers) {
  const auto answer = [&](WaitTicket ticket, absl::StatusOr<v1::AcquireLeaseResponse> response)
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    answers.push_back(
        [done = waits_.Take(ticket), response = std::move(response)]() mutable { done(std::move(response)); });
  };
  if (is_stopped_ || CanGrant()) {
    for (const WaitTicket ticket : waits_.tickets()) {
      if (!is_stopped_ && !CanGrant()) break;
      if (auto response = TryAcquire(waits_.actor_of(ticket))) answer(ticket, *std::move(response));
    }
  }
  const absl::Time now = MonotonicNow();
  while (const std::optional<WaitTicket> overdue = waits_.FindOverdue(now))
    answer(*overdue, v1::AcquireLeaseResponse());
}

absl::Time LeaseDesk::Answer(Dispatcher::Answers& answers) {
  absl::MutexLock lock(&mutex_);
  if (leases_.Expire(Now()) > 0) Changed();
  actors_.NoteLost(Now());
  if (!actors_.news().empty()) answers.push_back(actors_.news().Take(options_.tell ? options_.tell : Log));
  AnswerWaits(answers);
  absl::Time due = actors_.next_loss();
  if (const std::optional<absl::Time> expiry = leases_.NextExpiry()) due = std::min(due, *expiry);
  // Of the options' clock; what is waited for is of the machine's.
  return std::min(waits_.next_deadline(), MonotonicNow() + (due - Now()));
}

// ---- what actors hold and bring

absl::StatusOr<v1::RenewLeasesResponse> LeaseDesk::Renew(const v1::RenewLeasesRequest& request) {
  absl::MutexLock lock(&mutex_);
  ActorBook::Actor* actor = actors_.Find(request.actor_id());
  if (actor == nullptr) return NotRegistered(request.actor_id());
  actors_.Heard(request.actor_id(), *actor, Now());
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

absl::Status LeaseDesk::Fail(const v1::FailLeaseRequest& request) {
  const std::string label = FailureLabel(request.cause()), actor = request.actor_id();
  absl::MutexLock lock(&mutex_);
  if (request.is_handed_back()) {
    FLOWAWR_RETURN_IF_ERROR(leases_.HandBack(actor, request.lease()));
    // It costs no attempt, for others may reach the server; where nobody does the run would wait without a word.
    if (label == "reward_unreachable") actors_.Unreachable(actor, FailureText(request.message()));
    Drop(label);
    return absl::OkStatus();
  }
  const bool was_aside = leases_.WhyAside(actor, Now()).has_value();
  const std::string why = absl::StrCat(label, " (actor ", actor, "): ", FailureText(request.message()));
  FLOWAWR_RETURN_IF_ERROR(
      leases_.Fail(actor, request.lease(), why, Now(), /*is_actors_fault=*/label != "reward_bad_input"));
  actors_.news().Add(true,
                     absl::StrCat(NameOf(*leases_.Find(request.lease().group_id())), ", attempt ",
                                  request.lease().attempt(), ", failed: ", why),
                     {{"actor", actor},
                      {"group", request.lease().group_id()},
                      {"attempt", uint64_t{request.lease().attempt()}},
                      {"cause", label}});
  if (const auto why_aside = leases_.WhyAside(actor, Now()); why_aside && !was_aside)
    actors_.news().Add(true, absl::StrCat("set aside: ", *why_aside), {{"actor", actor}});
  Drop(label);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> LeaseDesk::CheckSubmission(const v1::GroupHeader& header) {
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
  if (newest_spec_ && header.reward_spec_version() < lease.reward_spec().version()) return Swapped(id);
  const bool is_current_attempt = leases_.IsGranted(id) && header.lease().attempt() == lease.attempt();
  if (!is_current_attempt && header.policy_version() < lease.policy_version()) return Stale(id);
  const std::shared_ptr<const StoredPolicy> policy = policies_.Find(lease.policy_version());
  if (policy == nullptr)
    return absl::InternalError(absl::StrCat("policy version ", lease.policy_version(), " of group ", id, " is gone"));
  const Refusal refusal = CheckHeader(header, lease, policy->header.policy(), options_.shape);
  if (!refusal.status.ok()) {
    Drop(refusal.cause);
    return refusal.status;
  }
  return MaxBlobBytes(GroupSchema(lease, options_.shape));
}

absl::Status LeaseDesk::Accept(const v1::GroupHeader& header, std::string blob) {
  const uint64_t id = header.lease().group_id();
  v1::Lease lease;
  {
    absl::MutexLock lock(&mutex_);
    FLOWAWR_RETURN_IF_ERROR(CheckStillWanted(header));
    lease = *leases_.Find(id);
  }
  std::string cause;
  absl::StatusOr<Group> group = DecodeGroup(header, std::move(blob), lease, options_.shape, &cause);
  if (group.ok() && IsEvaluationGroup(id)) LeaveWhatIsEvaluated(*group);
  absl::MutexLock lock(&mutex_);
  if (!group.ok()) {
    Drop(cause);
    return group.status();
  }
  FLOWAWR_RETURN_IF_ERROR(CheckStillWanted(header));
  leases_.Complete(id, header.actor_id());
  actors_.Made(header.actor_id(), lease.samples(), Now());
  if (IsEvaluationGroup(id)) {
    evaluation_.insert_or_assign(id, *std::move(group));
  } else {
    ++groups_accepted_;
    samples_accepted_ += lease.samples();
    batches_.Add(*std::move(group));
  }
  Changed();
  return absl::OkStatus();
}

absl::Status LeaseDesk::Duplicate(uint64_t group_id) {
  Drop("duplicate");
  return absl::AlreadyExistsError(absl::StrCat("group ", group_id, " was accepted before"));
}

absl::Status LeaseDesk::Swapped(uint64_t group_id) {
  Drop("swapped");
  return absl::NotFoundError(absl::StrCat("group ", group_id, " was leased anew when the rewards were swapped"));
}

absl::Status LeaseDesk::Stale(uint64_t group_id) {
  Drop("stale");
  return absl::NotFoundError(absl::StrCat("group ", group_id, " was leased anew under a newer policy version"));
}

// While the blob travelled or was decoded, another attempt may have come in, or the lease be another one by now.
absl::Status LeaseDesk::CheckStillWanted(const v1::GroupHeader& header) {
  const uint64_t id = header.lease().group_id();
  const v1::Lease* open = leases_.Find(id);
  if (open == nullptr) return Duplicate(id);
  if (open->reward_spec().version() != header.reward_spec_version()) return Swapped(id);
  if (open->policy_version() != header.policy_version()) return Stale(id);
  return absl::OkStatus();
}

// ---- what there is to show

void LeaseDesk::AddTo(v1::Status& status) const {
  absl::MutexLock lock(&mutex_);
  actors_.AddTo(status, leases_.HeldBy(), Now());
  for (const std::string& sentence : leases_.ActorsSetAside(Now())) status.add_warnings(sentence);
  // Beside what the run had of each before this process.
  status.set_groups_accepted(status.groups_accepted() + groups_accepted_);
  status.set_samples_accepted(status.samples_accepted() + samples_accepted_);
  for (const auto& [cause, groups] : dropped_) (*status.mutable_dropped())[cause] += groups;
  status.set_open_leases(static_cast<uint32_t>(leases_.granted()));
  status.set_batch_groups(static_cast<uint32_t>(batches_.ready()));
  if (evaluation_wanted_ > 0) {
    status.set_evaluation_groups(static_cast<uint32_t>(evaluation_.size()));
    status.set_evaluation_groups_total(static_cast<uint32_t>(evaluation_wanted_));
  }
  // Paused until Resume(); a run that is over is not.
  if (paused_because_ && status.phase() != v1::FINISHED && status.phase() != v1::FAILED) {
    status.set_phase(v1::PAUSED);
    status.set_message(*paused_because_);
    status.set_pause_cause(pause_cause_);
  }
}

uint64_t LeaseDesk::groups_accepted() const {
  absl::MutexLock lock(&mutex_);
  return groups_accepted_;
}

std::map<std::string, uint64_t> LeaseDesk::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

std::map<std::string, std::map<std::string, double>> LeaseDesk::actor_seconds() const {
  absl::MutexLock lock(&mutex_);
  return actors_.stage_seconds(Now());
}

FleetCounts LeaseDesk::fleet() const {
  absl::MutexLock lock(&mutex_);
  return actors_.fleet();
}

// ---- the end

void LeaseDesk::Stop(bool is_run_finished) {
  absl::MutexLock lock(&mutex_);
  is_stopped_ = true;
  is_run_finished_ = is_run_finished;
  actors_.news().Close();
  Changed();
}

bool LeaseDesk::is_stopped() const {
  absl::MutexLock lock(&mutex_);
  return is_stopped_;
}

bool LeaseDesk::WaitForActorsToLeave(absl::Duration at_most) {
  const absl::Time until = MonotonicNow() + at_most;
  absl::MutexLock lock(&mutex_);
  while (true) {
    const std::optional<absl::Duration> all_gone = actors_.UntilAllAreGone(Now());
    if (!all_gone) return true;
    if (MonotonicNow() >= until) return false;
    changed_.WaitWithTimeout(&mutex_, std::min(until - MonotonicNow(), *all_gone));
  }
}

}  // namespace flowawr
