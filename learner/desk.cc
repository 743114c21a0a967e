#include "learner/desk.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "learner/default_endpoint.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

// Actors that start again under new names must not fill the memory. One that comes back later registers anew.
constexpr absl::Duration kForgotten = absl::Hours(1);
constexpr size_t kMostActors = 4096;
// A session that was silent for longer does not keep others from its actor's name.
constexpr int kHeartbeatsOfSilence = 2;
// Lines that wait to be told; beyond them it is only said how many there were.
constexpr size_t kMostNews = 256;

void Log(bool is_trouble, const std::string& line) {
  spdlog::log(is_trouble ? spdlog::level::warn : spdlog::level::info, "{}", line);
}

absl::Status NotRegistered(const std::string& actor_id) {
  return absl::FailedPreconditionError(absl::StrCat(
      "actor \"", actor_id, "\" is not registered with this learner; register with the run's model first"));
}

absl::Status TooManyWaits() {
  return absl::ResourceExhaustedError("too many callers wait already; try again");
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
      policies_(options_.next_version, static_cast<size_t>(options_.batches.max_staleness) + 2),
      made_at_(Now()) {
  leases_.ForgetTrainingBelow(options_.next_group);
  dispatcher_ = std::thread([this] { Dispatch(); });
}

Desk::~Desk() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopped_ = is_closing_ = true;
    Changed();
  }
  dispatcher_.join();
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

void Desk::Heard(const std::string& actor_id, Actor& actor) {
  actor.seen = Now();
  next_loss_ = std::min(next_loss_, actor.seen + kGone);
  if (std::exchange(actor.is_lost, false)) Tell(false, absl::StrCat("actor ", actor_id, " is back"), {{"actor", actor_id}});
}

std::string Desk::Workforce() const {
  const auto working = std::count_if(actors_.begin(), actors_.end(), [this](const auto& item)
                                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                                           return item.second.may_lease && !IsGone(item.second);
                                         });
  return absl::StrCat(working, working == 1 ? " actor works" : " actors work");
}

void Desk::Tell(bool is_trouble, std::string line, std::vector<LogField> about) {
  if (is_stopped_) return;  // who goes now was sent
  if (news_.size() < kMostNews)
    news_.push_back({is_trouble, std::move(line), std::move(about)});
  else
    ++news_left_out_;
  changed_.SignalAll();
}

void Desk::TakeNews(Answers& answers) {
  if (news_.empty()) return;
  if (const size_t more = std::exchange(news_left_out_, 0); more > 0)
    news_.push_back({true, absl::StrCat("and ", more, " lines like these"), {}});
  answers.push_back([tell = options_.tell ? options_.tell : Log, news = std::exchange(news_, {})] {
    for (const News& one : news) {
      const LogFields fields(one.about);
      tell(one.is_trouble, one.line);
    }
  });
}

void Desk::TellOfLostActors() {
  if (Now() < next_loss_) return;
  next_loss_ = absl::InfiniteFuture();
  for (auto& [id, actor] : actors_) {
    if (actor.is_lost) continue;
    if (!IsGone(actor)) {
      next_loss_ = std::min(next_loss_, actor.seen + kGone);
      continue;
    }
    actor.is_lost = true;
    ++fleet_.lost;
    Tell(true, absl::StrCat("actor ", id, " is lost: not heard of for ", absl::FormatDuration(kGone), ", after ",
                            actor.groups, " groups; ", Workforce()),
         {{"actor", id}});
  }
}

bool Desk::Register(const std::string& actor_id, bool has_model, const std::string& address) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(actors_, [this](const auto& item)
                             ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Now() - item.second.seen >= kForgotten; });
  Actor& actor = actors_[actor_id];
  actor.is_lost = false;
  Heard(actor_id, actor);
  actor.may_lease = has_model;
  if (!address.empty()) actor.address = address;
  if (has_model) actor.rate.Begin(actor.seen);
  if (has_model && !actor.has_joined) ++fleet_.joined;
  actor.was_told_finished = is_run_finished_;
  const int released = leases_.ReleaseActor(actor_id);
  if (has_model || !actor.has_joined) {
    const std::string what = !has_model         ? " is here and loads its model"
                             : actor.has_joined ? " registered again"
                                                : absl::StrCat(" joined: ", Workforce());
    Tell(false, absl::StrCat("actor ", actor_id, what,
                             released > 0 ? absl::StrCat("; ", released, " groups that it had begun are begun anew")
                                          : ""),
         {{"actor", actor_id}});
  }
  actor.has_joined |= has_model;
  Changed();
  return is_run_finished_;
}

absl::Status Desk::Claim(const std::string& actor_id, const std::string& session) {
  std::vector<OnLease> ended;
  absl::Status claimed;
  {
    absl::MutexLock lock(&mutex_);
    claimed = ClaimLocked(actor_id, session, ended);
  }
  for (OnLease& done : ended) done(NotRegistered(actor_id));
  return claimed;
}

absl::Status Desk::ClaimLocked(const std::string& actor_id, const std::string& session, std::vector<OnLease>& ended) {
  if (Actor* actor = FindActor(actor_id)) {
    const absl::Duration silence = Now() - actor->seen;
    if (actor->session != session && !actor->has_lost_watch && silence < kHeartbeatsOfSilence * options_.heartbeat)
      return absl::AlreadyExistsError(absl::StrCat("actor \"", actor_id, "\" is alive, heard of ",
                                                   absl::FormatDuration(absl::Trunc(silence, absl::Milliseconds(1))),
                                                   " ago: give this one another --id, or stop that one"));
    if (actor->session != session) {
      if (actor->has_joined && !actor->is_lost) ++fleet_.lost;  // it had not left
      actor->has_joined = false;
      actor->unreachable_because.clear();
      ended = TakeLeaseWaitsOf(actor_id);
    }
    actor->session = session;
    actor->watch = 0;
    actor->has_lost_watch = false;
    return absl::OkStatus();
  }
  std::erase_if(actors_, [this](const auto& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return actors_.size() >= kMostActors && IsGone(item.second);
  });
  if (actors_.size() >= kMostActors)
    return absl::ResourceExhaustedError(absl::StrCat("this learner knows ", kMostActors, " live actors already"));
  ended = TakeLeaseWaitsOf(actor_id);
  Actor& actor = actors_[actor_id];
  actor.session = session;
  Heard(actor_id, actor);
  return absl::OkStatus();
}

absl::Status Desk::CheckSession(const std::string& actor_id, const std::string& session) const {
  absl::MutexLock lock(&mutex_);
  const auto found = actors_.find(actor_id);
  // Whoever asks after the end of the run is told so, known or not.
  if (is_run_finished_ || (found != actors_.end() && found->second.session == session)) return absl::OkStatus();
  return NotRegistered(actor_id);
}

Desk::WatchId Desk::BeginWatch(const std::string& actor_id, const std::string& session) {
  absl::MutexLock lock(&mutex_);
  Actor* actor = FindActor(actor_id);
  if (actor == nullptr || actor->session != session) return 0;
  actor->has_lost_watch = false;
  return actor->watch = next_watch_++;
}

void Desk::EndWatch(const std::string& actor_id, WatchId watch) {
  absl::MutexLock lock(&mutex_);
  Actor* actor = FindActor(actor_id);
  if (actor == nullptr || watch == 0 || actor->watch != watch) return;
  actor->watch = 0;
  actor->has_lost_watch = true;
}

void Desk::Leave(const std::string& actor_id) {
  absl::MutexLock lock(&mutex_);
  const auto found = actors_.find(actor_id);
  if (found == actors_.end()) return;
  const uint64_t groups = found->second.groups;
  if (found->second.has_joined) ++fleet_.left;
  actors_.erase(found);
  leases_.ReleaseActor(actor_id);
  Tell(false, absl::StrCat("actor ", actor_id, " left after ", groups, " groups; ", Workforce()), {{"actor", actor_id}});
  Changed();
}

std::vector<std::string> Desk::OthersThan(const std::string& actor_id) const {
  std::vector<std::string> others;
  for (const auto& [id, actor] : actors_)
    if (id != actor_id && !actor.has_lost_watch && !IsGone(actor)) others.push_back(id);
  return others;
}

std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> Desk::TryAcquire(const std::string& actor_id) {
  v1::AcquireLeaseResponse response;
  Actor* actor = FindActor(actor_id);
  if (is_run_finished_) {
    if (actor != nullptr) actor->was_told_finished = true;
    response.set_run_finished(true);
    Changed();
    return response;
  }
  if (actor == nullptr || !actor->may_lease) return NotRegistered(actor_id);
  if (is_stopped_) return response;
  if (!CanGrant()) return std::nullopt;
  std::optional<v1::Lease> lease = leases_.Grant(actor_id, v1::EVALUATION, Now(), OthersThan(actor_id));
  if (!lease) return std::nullopt;
  FillInEndpoints(options_.default_reward_endpoint, lease->mutable_reward_spec());
  *response.mutable_lease() = *std::move(lease);
  Changed();
  return response;
}

Desk::Ticket Desk::Acquire(const std::string& actor_id, absl::Duration wait, OnLease done) {
  std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> answer;
  {
    absl::MutexLock lock(&mutex_);
    if (Actor* actor = FindActor(actor_id)) Heard(actor_id, *actor);
    if (leases_.Expire(Now()) > 0) Changed();
    // Those who wait already come first.
    if (lease_waits_.empty() || is_stopped_) answer = TryAcquire(actor_id);
    const Actor* const actor = FindActor(actor_id);
    if (!answer && (actor == nullptr || !actor->may_lease)) answer = NotRegistered(actor_id);
    // What those who wait are kept from may still be this one's.
    const bool may_be_granted = !lease_waits_.empty() && CanGrant();
    if (!answer && wait <= absl::ZeroDuration() && !may_be_granted) answer = v1::AcquireLeaseResponse();
    if (!answer && lease_waits_of_[actor_id] >= kMaxWaitsOfAnActor)
      answer = absl::ResourceExhaustedError(
          absl::StrCat("actor \"", actor_id, "\" waits for ", kMaxWaitsOfAnActor, " leases already"));
    if (!answer && lease_waits_.size() >= kMaxWaits) answer = TooManyWaits();
    if (!answer) {
      const Ticket ticket = next_ticket_++;
      const absl::Time until = MonotonicNow() + wait;
      lease_waits_.emplace(ticket, LeaseWait{actor_id, until, std::move(done)});
      lease_deadlines_.emplace(until, ticket);
      ++lease_waits_of_[actor_id];
      changed_.SignalAll();
      return ticket;
    }
  }
  done(*std::move(answer));
  return 0;
}

std::vector<Desk::OnLease> Desk::TakeLeaseWaitsOf(const std::string& actor_id) {
  std::vector<Ticket> tickets;
  for (const auto& [ticket, wait] : lease_waits_)
    if (wait.actor_id == actor_id) tickets.push_back(ticket);
  std::vector<OnLease> waits;
  for (const Ticket ticket : tickets) waits.push_back(TakeLeaseWait(ticket).done);
  return waits;
}

Desk::LeaseWait Desk::TakeLeaseWait(Ticket ticket) {
  const auto found = lease_waits_.find(ticket);
  LeaseWait wait = std::move(found->second);
  lease_waits_.erase(found);
  lease_deadlines_.erase({wait.until, ticket});
  if (const auto count = lease_waits_of_.find(wait.actor_id); --count->second == 0) lease_waits_of_.erase(count);
  return wait;
}

Desk::Ticket Desk::AwaitBehaviour(uint64_t after, OnBehaviour done) {
  {
    absl::MutexLock lock(&mutex_);
    if (behaviour_waits_.size() < kMaxWaits) {
      const Ticket ticket = next_ticket_++;
      behaviour_waits_.emplace(ticket, BehaviourWait{after, std::move(done)});
      are_behaviours_due_ = true;
      changed_.SignalAll();
      return ticket;
    }
  }
  done(TooManyWaits());
  return 0;
}

Desk::Ticket Desk::AwaitStatus(uint64_t seen, absl::Time not_before, absl::Time until, OnStatus done) {
  {
    absl::MutexLock lock(&mutex_);
    if (status_waits_.size() < kMaxStatusWaits) {
      const Ticket ticket = next_ticket_++;
      status_waits_.emplace(ticket, StatusWait{seen, not_before, until, std::move(done)});
      changed_.SignalAll();
      return ticket;
    }
  }
  done(TooManyWaits());
  return 0;
}

void Desk::CancelWait(Ticket ticket) {
  const absl::Status cancelled = absl::CancelledError("the caller has gone");
  absl::AnyInvocable<void()> answer;
  {
    absl::MutexLock lock(&mutex_);
    if (lease_waits_.contains(ticket)) {
      answer = [done = TakeLeaseWait(ticket).done, cancelled]() mutable { done(cancelled); };
    } else if (auto behaviour = behaviour_waits_.extract(ticket)) {
      answer = [done = std::move(behaviour.mapped().done), cancelled]() mutable { done(cancelled); };
    } else if (auto status = status_waits_.extract(ticket)) {
      answer = [done = std::move(status.mapped().done), cancelled]() mutable { done(cancelled); };
    } else {
      return;
    }
  }
  answer();
}

void Desk::AnswerLeases(Answers& answers) {
  const auto answer = [&](Ticket ticket, absl::StatusOr<v1::AcquireLeaseResponse> response)
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    answers.push_back([done = TakeLeaseWait(ticket).done, response = std::move(response)]() mutable {
      done(std::move(response));
    });
  };
  for (auto it = lease_waits_.begin(); it != lease_waits_.end() && (is_stopped_ || CanGrant());) {
    const Ticket ticket = it->first;
    auto response = TryAcquire(it->second.actor_id);
    ++it;
    if (response) answer(ticket, *std::move(response));
  }
  const absl::Time now = MonotonicNow();
  while (!lease_deadlines_.empty() && lease_deadlines_.begin()->first <= now)
    answer(lease_deadlines_.begin()->second, v1::AcquireLeaseResponse());
}

void Desk::AnswerBehaviours(Answers& answers) {
  if (!are_behaviours_due_ && !is_stopped_) return;
  are_behaviours_due_ = false;
  const std::shared_ptr<const StoredPolicy> newest = policies_.newest_behaviour();
  for (auto it = behaviour_waits_.begin(); it != behaviour_waits_.end();) {
    const bool is_newer = newest != nullptr && newest->header.policy().version() > it->second.after;
    if (!is_newer && !is_stopped_) {
      ++it;
      continue;
    }
    answers.push_back([done = std::move(it->second.done),
                       answer = is_newer ? newest : std::shared_ptr<const StoredPolicy>()]() mutable { done(answer); });
    it = behaviour_waits_.erase(it);
  }
}

void Desk::AnswerStatuses(Answers& answers) {
  const absl::Time now = MonotonicNow();
  SeenStatus answer;
  for (auto it = status_waits_.begin(); it != status_waits_.end();) {
    StatusWait& wait = it->second;
    if (!is_stopped_ && now < wait.until && (now < wait.not_before || wait.seen == generation_)) {
      ++it;
      continue;
    }
    if (answer.status == nullptr)
      answer = {std::make_shared<const v1::Status>(Snapshot()), generation_, is_stopped_};
    answers.push_back([done = std::move(wait.done), answer]() mutable { done(std::move(answer)); });
    it = status_waits_.erase(it);
  }
}

absl::Time Desk::NextDue() const {
  absl::Time due = MonotonicNow() + (next_loss_ - Now());
  if (!lease_deadlines_.empty()) due = std::min(due, lease_deadlines_.begin()->first);
  for (const auto& [ticket, wait] : status_waits_)
    due = std::min(due, wait.seen != generation_ ? wait.not_before : wait.until);
  return due;
}

void Desk::Dispatch() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (leases_.Expire(Now()) > 0) Changed();
    TellOfLostActors();
    Answers answers;
    TakeNews(answers);
    AnswerLeases(answers);
    AnswerBehaviours(answers);
    AnswerStatuses(answers);
    if (!answers.empty()) {
      mutex_.Unlock();
      for (auto& answer : answers) answer();
      answers.clear();
      mutex_.Lock();
    } else if (is_closing_) {
      return;
    } else {
      WaitForChange(NextDue());
    }
  }
}

absl::StatusOr<v1::RenewLeasesResponse> Desk::Renew(const v1::RenewLeasesRequest& request) {
  absl::MutexLock lock(&mutex_);
  Actor* actor = FindActor(request.actor_id());
  if (actor == nullptr) return NotRegistered(request.actor_id());
  Heard(request.actor_id(), *actor);
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

void Desk::TellUnreachable(const std::string& actor_id, const std::string& why) {
  Actor* actor = FindActor(actor_id);
  if (actor == nullptr || actor->unreachable_because == why) return;
  actor->unreachable_because = why;
  Tell(true, absl::StrCat("actor ", actor_id, " hands its groups back: ", why), {{"actor", actor_id}});
}

absl::Status Desk::Fail(const v1::FailLeaseRequest& request) {
  const std::string label = FailureLabel(request.cause()), actor = request.actor_id();
  absl::MutexLock lock(&mutex_);
  if (request.is_handed_back()) {
    FLOWAWR_RETURN_IF_ERROR(leases_.HandBack(actor, request.lease()));
    // It costs no attempt, for others may reach the server; where nobody does the run would wait without a word.
    if (label == "reward_unreachable") TellUnreachable(actor, FailureText(request.message()));
    Drop(label);
    return absl::OkStatus();
  }
  const bool was_aside = leases_.WhyAside(actor, Now()).has_value();
  const std::string why = absl::StrCat(label, " (actor ", actor, "): ", FailureText(request.message()));
  FLOWAWR_RETURN_IF_ERROR(
      leases_.Fail(actor, request.lease(), why, Now(), /*is_actors_fault=*/label != "reward_bad_input"));
  Tell(true, absl::StrCat(NameOf(*leases_.Find(request.lease().group_id())), ", attempt ", request.lease().attempt(),
                          ", failed: ", why),
       {{"actor", actor},
        {"group", request.lease().group_id()},
        {"attempt", uint64_t{request.lease().attempt()}},
        {"cause", label}});
  if (const auto why_aside = leases_.WhyAside(actor, Now()); why_aside && !was_aside)
    Tell(true, absl::StrCat("set aside: ", *why_aside), {{"actor", actor}});
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
  const bool is_current_attempt = leases_.IsGranted(id) && header.lease().attempt() == lease.attempt();
  if (!is_current_attempt && header.policy_version() < lease.policy_version()) {
    Drop("stale");
    return absl::NotFoundError(absl::StrCat("group ", id, " was leased anew under a newer policy version"));
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
    Heard(header.actor_id(), *actor);
    actor->unreachable_because.clear();
    ++actor->groups;
    actor->samples += lease.samples();
    actor->rate.Add(actor->seen, lease.samples());
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
  ages_.Show(Now(), status);
  if (!stage_.empty())
    (*status.mutable_learner_seconds())[stage_] += absl::ToDoubleSeconds(Now() - stage_began_);
  const std::map<std::string, uint32_t> held = leases_.HeldBy();
  for (const auto& [id, actor] : actors_) {
    if (IsGone(actor)) continue;
    v1::ActorStatus& out = *status.add_actors();
    out.set_actor_id(id);
    out.set_groups(actor.groups);
    out.set_samples(actor.samples);
    out.set_images_per_s(actor.rate.PerSecond(Now()));
    out.set_address(actor.address);
    if (const auto found = held.find(id); found != held.end()) out.set_held_leases(found->second);
    out.set_seconds_since_seen(absl::ToDoubleSeconds(Now() - actor.seen));
    out.set_adopted_version(actor.adopted_version);
    out.mutable_stage_seconds()->insert(actor.stage_seconds.begin(), actor.stage_seconds.end());
    if (!actor.unreachable_because.empty())
      status.add_warnings(absl::StrCat("actor ", id, " hands its groups back: ", actor.unreachable_because));
  }
  for (const std::string& sentence : leases_.ActorsSetAside(Now())) status.add_warnings(sentence);
  for (const auto& [source, sentences] : standing_warnings_)
    for (const std::string& sentence : sentences) status.add_warnings(sentence);
  status.set_open_leases(static_cast<uint32_t>(leases_.granted()));
  status.set_batch_groups(static_cast<uint32_t>(batches_.ready()));
  if (evaluation_wanted_ > 0) {
    status.set_evaluation_groups(static_cast<uint32_t>(evaluation_.size()));
    status.set_evaluation_groups_total(static_cast<uint32_t>(evaluation_wanted_));
  }
  if (ShowsPaused()) {
    status.set_phase(v1::PAUSED);
    status.set_message(*paused_because_);
    status.set_pause_cause(pause_cause_);
  }
  // Folders' names and what libraries say may be any bytes; a message with one that is not UTF-8 is read by nobody.
  for (std::string* text : {status.mutable_name(), status.mutable_run_dir(), status.mutable_message(),
                            status.mutable_last_checkpoint()})
    *text = SanitizeUtf8(*text);
  for (std::string& warning : *status.mutable_warnings()) warning = SanitizeUtf8(warning);
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

void Desk::UpdateStatus(const std::function<void(v1::Status&)>& change) {
  absl::MutexLock lock(&mutex_);
  change(status_);
  ages_.Take(Now(), status_);
  Changed();
}

void Desk::BeginStage(const std::string& stage) {
  absl::MutexLock lock(&mutex_);
  stage_ = stage;
  stage_began_ = Now();
}

void Desk::EndStage() {
  absl::MutexLock lock(&mutex_);
  (*status_.mutable_learner_seconds())[std::exchange(stage_, "")] += absl::ToDoubleSeconds(Now() - stage_began_);
  Changed();
}

FleetCounts Desk::fleet() const {
  absl::MutexLock lock(&mutex_);
  return fleet_;
}

void Desk::SetStandingWarnings(const std::string& source, std::vector<std::string> warnings) {
  absl::MutexLock lock(&mutex_);
  standing_warnings_[source] = std::move(warnings);
  Changed();
}

absl::StatusOr<std::shared_ptr<const StoredPolicy>> Desk::Publish(const LoraAdapter& adapter, v1::PolicyRole role,
                                                                  uint64_t update) {
  FLOWAWR_ASSIGN_OR_RETURN(StoredPolicy snapshot, PolicyStore::Snapshot(adapter, role, update));
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<const StoredPolicy> stored = policies_.Publish(std::move(snapshot));
  are_behaviours_due_ = true;
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

uint64_t Desk::SetRewardSpec(v1::RewardSpec spec) {
  absl::MutexLock lock(&mutex_);
  spec.clear_from_update();
  newest_spec_ = std::move(spec);
  MoveToNewestSpec(/*is_stuck=*/leases_.exhausted().has_value());
  Changed();
  return newest_spec_->from_update();
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
  const size_t kept = std::count_if(training.begin(), training.end(), [&](const OutstandingGroup& group) {
    return group.spec_version != newest && !moving.contains(group.group_id);
  });
  const uint64_t batch = options_.batches.groups_per_batch;
  const uint64_t trained = batches_.next_group() + batches_.consumed_above().size();  // or about to be
  const uint64_t from = (trained + kept + batch - 1) / batch + 1;
  if (newest_spec_->from_update() == 0 || from < newest_spec_->from_update()) newest_spec_->set_from_update(from);
  *status_.mutable_reward_spec() = *newest_spec_;
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

void Desk::MoveToNewestVersion(uint64_t oldest_version) {
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

std::optional<std::vector<Group>> Desk::WaitForBatch(uint64_t oldest_version) {
  absl::MutexLock lock(&mutex_);
  MoveToNewestVersion(oldest_version);
  while (true) {
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

void Desk::Pause(const std::string& why, const std::string& cause) {
  absl::MutexLock lock(&mutex_);
  paused_because_ = why;
  pause_cause_ = cause;
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
  if (!paused_because_) return;
  held_since_ = Now();
  while (paused_because_ && !is_stopped_ && !std::exchange(is_interrupted_, false)) changed_.Wait(&mutex_);
  held_ += Now() - *held_since_;
  held_since_.reset();
}

absl::Duration Desk::running_time() const {
  absl::MutexLock lock(&mutex_);
  return held_since_.value_or(Now()) - made_at_ - held_;
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
