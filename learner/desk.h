// Where the learner's services and its run loop meet: leases, groups that came in, policy versions, the status.
//
//   actors ── services ──> Desk <── RunLoop (the only one that trains and decides what comes next)
//
// What the services wait for is no thread that sleeps but an entry in a list: thousands of actors wait at once. One
// thread of the desk's, the dispatcher, answers them in the order in which they came, when something changes, a lease
// expires or their time is over. The run loop waits in its own thread.
//
// One mutex guards everything; nothing is serialised, parsed or hashed while it is held, and no callback is called.
// Waits are bounded or end with Stop(). Thread-safe. Decisions are the LeaseBook's, the BatchAssembler's and the group
// validator's; this class adds the lock, the clock and the waiting.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"
#include "flowawr/v1/control.pb.h"
#include "common/telemetry/log.h"
#include "learner/batch_assembler.h"
#include "learner/fleet_counts.h"
#include "learner/group_validator.h"
#include "learner/lease_book.h"
#include "learner/policy_store.h"
#include "learner/recent_rate.h"
#include "learner/spec_change.h"
#include "learner/status_ages.h"

namespace flowawr {

class Desk {
 public:
  // An actor not heard of for this long is gone; a live one must send heartbeats more often.
  static constexpr absl::Duration kGone = absl::Seconds(10);
  // An honest actor waits for one lease at a time; after a lost connection an older wait may still be there.
  static constexpr int kMaxWaitsOfAnActor = 4;
  // Of each kind, whoever waits: they bound the memory, not the actors.
  static constexpr size_t kMaxWaits = 1 << 16;
  static constexpr size_t kMaxStatusWaits = 1 << 10;

  struct Options {
    LeaseBook::Options leases;
    BatchAssembler::Options batches;
    uint64_t next_group = 0;
    std::set<uint64_t> consumed_groups;
    uint64_t next_version = 1;
    GroupShape shape;
    std::string default_reward_endpoint;  // for reward-spec terms that name none
    absl::Duration heartbeat = kGone / 2;  // what live actors were told
    const Clock* clock = &Clock::Real();
    // Hears, in the dispatcher's thread and without a lock, of actors that come, go and fail; null: the log does.
    std::function<void(bool is_trouble, const std::string& line)> tell;
  };
  explicit Desk(Options options);
  // Ends what still waits, as Stop() does.
  ~Desk();

  // ---- for the services ----
  // An actor begins (again): what one of that name held is lost. It may take leases once it `has_model`, which is to
  // say that its model is the run's. `address`: from where it calls, for people. Returns whether the run has finished, so
  // that it need not begin.
  bool Register(const std::string& actor_id, bool has_model, const std::string& address = "");
  // Before it: whoever has that session speaks for the actor from now on, and waits for leases of its earlier sessions
  // end with FailedPrecondition. AlreadyExists while another session of that actor lives, which is to say that it was
  // heard of lately and its watch of the policy has not broken off; ResourceExhausted when too many actors are known.
  absl::Status Claim(const std::string& actor_id, const std::string& session);
  // FailedPrecondition for an actor that did not register with that session.
  absl::Status CheckSession(const std::string& actor_id, const std::string& session) const;
  // The actor's stream of policy versions began; 0 when that session is not the actor's.
  using WatchId = uint64_t;
  WatchId BeginWatch(const std::string& actor_id, const std::string& session);
  // It broke off: nobody is kept from the actor's name any longer. Of no effect unless the actor began it last, and
  // since it registered last: the server may hear of the end of an older one when the actor is back long since.
  void EndWatch(const std::string& actor_id, WatchId watch);
  // The actor ends in good order: it is forgotten, and what it should still hold waits again.
  void Leave(const std::string& actor_id);

  // A wait that was begun. Its callback is called once, from any thread, without a lock: perhaps before the function
  // that began it has returned, and at the latest when it is cancelled or the desk stops. It must not block.
  using Ticket = uint64_t;
  // Waits up to `wait` for a lease that may be granted; an answer without one means that there was none. Errors:
  // FailedPrecondition for an actor that did not register with this learner, unless the run has finished;
  // ResourceExhausted when it waits kMaxWaitsOfAnActor times already, or too many do.
  using OnLease = absl::AnyInvocable<void(absl::StatusOr<v1::AcquireLeaseResponse>)>;
  Ticket Acquire(const std::string& actor_id, absl::Duration wait, OnLease done);
  // The newest behaviour version once it is above `after`; null when the desk stops. ResourceExhausted as above.
  using OnBehaviour = absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<const StoredPolicy>>)>;
  Ticket AwaitBehaviour(uint64_t after, OnBehaviour done);
  // The status once it has changed since `seen` (0: at once) and it is `not_before`, at the latest at `until`, both on
  // the scale of MonotonicNow(). Sets `seen` for the next wait.
  struct SeenStatus {
    std::shared_ptr<const v1::Status> status;
    uint64_t seen = 0;
    bool is_last = false;  // the desk has stopped
  };
  using OnStatus = absl::AnyInvocable<void(absl::StatusOr<SeenStatus>)>;
  Ticket AwaitStatus(uint64_t seen, absl::Time not_before, absl::Time until, OnStatus done);
  // Ends a wait, unless it has been answered: its callback gets Cancelled, and what was waited for goes to others.
  void CancelWait(Ticket ticket);

  // FailedPrecondition as above.
  absl::StatusOr<v1::RenewLeasesResponse> Renew(const v1::RenewLeasesRequest& request);
  // Of an attempt that failed or was handed back. NotFound when the actor does not hold it.
  absl::Status Fail(const v1::FailLeaseRequest& request);
  // Checks a group by its header and returns the largest blob it may have. AlreadyExists when it was accepted before,
  // NotFound for an unknown lease, PermissionDenied for one that the actor never held, else as CheckHeader(). Refusals
  // are counted by cause.
  absl::StatusOr<uint64_t> CheckSubmission(const v1::GroupHeader& header);
  absl::Status Accept(const v1::GroupHeader& header, std::string blob);
  // Counts a refusal that happened between the two calls above, e.g. a stream with a wrong digest.
  void CountDrop(const std::string& cause);
  std::shared_ptr<const StoredPolicy> FindPolicy(uint64_t version) const;
  absl::Status ReportAdoption(const v1::ReportAdoptionRequest& request);

  // ---- the status, for Control, metrics and the run loop ----
  // Whole, which copies much; below, what the run loop needs of it.
  v1::Status status() const;
  v1::RunPhase phase() const;
  std::optional<double> heldout_reward() const;  // of the latest evaluation; nullopt: nobody measured it
  std::map<std::string, uint64_t> dropped() const;
  std::map<std::string, double> learner_seconds() const;
  std::map<std::string, std::map<std::string, double>> actor_seconds() const;  // by actor, of those not gone, and stage
  FleetCounts fleet() const;
  // What the run loop is at, for learner_seconds: until EndStage() the status counts it as it goes on. One at a time.
  void BeginStage(const std::string& stage);
  void EndStage();
  // Ages that `change` sets, of the newest update and checkpoint, grow from then on.
  void UpdateStatus(const std::function<void(v1::Status&)>& change);
  // Of the status, beside those that UpdateStatus() sets, until this is called again for that source.
  void SetStandingWarnings(const std::string& source, std::vector<std::string> warnings);

  // ---- for the run loop ----
  absl::StatusOr<std::shared_ptr<const StoredPolicy>> Publish(const LoraAdapter& adapter, v1::PolicyRole role,
                                                              uint64_t update);
  uint64_t next_version() const;
  void Offer(std::vector<v1::Lease> leases);
  // Rewards were swapped: see learner/spec_change.h for which groups take the new spec. Returns the spec's from_update,
  // which it sets: the first update that no group of an older spec is left for.
  uint64_t SetRewardSpec(v1::RewardSpec spec);
  // The next batch; nullopt when the desk stops or is interrupted. Groups of versions below `oldest_version` are leased
  // anew on the way, and so are those that nobody has made yet: their version is soon not kept any more.
  std::optional<std::vector<Group>> WaitForBatch(uint64_t oldest_version);
  // Evaluation groups as they come in, until `count` are there; nullopt as above; what came in stays for the next call.
  std::optional<std::vector<Group>> WaitForEvaluation(size_t count);
  uint64_t next_group() const;
  std::set<uint64_t> consumed_groups() const;

  // No lease is granted while paused. The status says PAUSED and `why` for as long, whatever phase the run loop is in.
  // `cause` is a word for metrics: operator, disk, attempts.
  void Pause(const std::string& why, const std::string& cause = "operator");
  void Resume();
  bool is_paused() const;
  // Returns when the run is not paused, on Interrupt() and Stop(). For the run loop's thread.
  void WaitWhilePaused();
  // Since the desk was made, less what WaitWhilePaused() waited: the time that a run needs, as it would have needed it
  // without pauses.
  absl::Duration running_time() const;
  // Why leases ran out of attempts, if they did; Resume() tries again.
  std::optional<std::string> exhausted() const;
  // Wakes the run loop's waits once, so that it looks at requests (pause, checkpoint).
  void Interrupt();
  // Ends every wait for good; actors are told `run_finished` if so.
  void Stop(bool is_run_finished);
  bool is_stopped() const;
  // Waits until every actor that is not gone has been told that the run is finished; false when `at_most` passes first.
  bool WaitForActorsToLeave(absl::Duration at_most);

 private:
  struct Actor {
    absl::Time seen;
    bool may_lease = false;
    uint64_t groups = 0, samples = 0, adopted_version = 0;
    RecentRate rate;  // of samples
    std::string address;
    bool was_told_finished = false;
    std::map<std::string, double> stage_seconds;
    std::string session;
    bool has_joined = false;  // this session, with the run's model
    WatchId watch = 0;        // that its end would tell that the actor has gone; 0: none
    bool has_lost_watch = false;
    bool is_lost = false;  // it was told that the actor is not heard of any more
    std::string unreachable_because;  // why it reaches no reward server, so that it hands back what it gets; else empty
  };
  // Other actors that are alive, those that load their model included: they soon lease.
  std::vector<std::string> OthersThan(const std::string& actor_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Training groups of versions below the oldest that may be trained on, made or not, are leased anew.
  void MoveToNewestVersion(uint64_t oldest_version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what GroupsToMove() says; `is_stuck` as there.
  void MoveToNewestSpec(bool is_stuck) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether leases ran out of attempts. If that was under a reward spec that was swapped since, all move to the new one
  // and there are attempts again.
  bool IsExhausted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Heard(const std::string& actor_id, Actor& actor) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // "3 actors work", of those that may lease and are not gone.
  std::string Workforce() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `about`: fields of the log's JSON line.
  void Tell(bool is_trouble, std::string line, std::vector<LogField> about) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // That the actor reaches no reward server: told once, and a warning of the status until a group of it comes in.
  void TellUnreachable(const std::string& actor_id, const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellOfLostActors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Null for one that never registered.
  Actor* FindActor(const std::string& actor_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsGone(const Actor& actor) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Now() - actor.seen >= kGone; }
  bool CanGrant() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Until the next change, the next expiry of a lease, or `until`.
  void WaitForChange(absl::Time until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // What waits. Its times are those of MonotonicNow(); a lease's is the options' clock's.
  struct LeaseWait {
    std::string actor_id;
    absl::Time until;
    OnLease done;
  };
  struct BehaviourWait {
    uint64_t after = 0;
    OnBehaviour done;
  };
  struct StatusWait {
    uint64_t seen = 0;
    absl::Time not_before, until;
    OnStatus done;
  };
  // Callbacks with their answers, to be called once the lock is released.
  using Answers = std::vector<absl::AnyInvocable<void()>>;

  void Dispatch();
  void TakeNews(Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerLeases(Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerBehaviours(Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerStatuses(Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // When an answer falls due though nothing changes.
  absl::Time NextDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What an actor is answered now; nullopt: it has to wait.
  std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> TryAcquire(const std::string& actor_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Claim(), but for the answers to `ended`, which are due once the lock is released.
  absl::Status ClaimLocked(const std::string& actor_id, const std::string& session, std::vector<OnLease>& ended)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<OnLease> TakeLeaseWaitsOf(const std::string& actor_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  LeaseWait TakeLeaseWait(Ticket ticket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop(const std::string& cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts a group that came in before, and its error.
  absl::Status Duplicate(uint64_t group_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Paused until Resume(); a run that is over is not.
  bool ShowsPaused() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::Status Snapshot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time Now() const { return options_.clock->Now(); }

  const Options options_;
  mutable absl::Mutex mutex_;
  mutable SteadyCondVar changed_;
  LeaseBook leases_ ABSL_GUARDED_BY(mutex_);
  BatchAssembler batches_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Group> evaluation_
      ABSL_GUARDED_BY(mutex_);                            // by group id, so that their order does not depend on arrival
  size_t evaluation_wanted_ ABSL_GUARDED_BY(mutex_) = 0;  // groups that WaitForEvaluation was last asked for
  PolicyStore policies_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Actor> actors_ ABSL_GUARDED_BY(mutex_);
  WatchId next_watch_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Time next_loss_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();  // no actor can be found lost before it
  struct News {
    bool is_trouble;  // as for Options::tell
    std::string line;
    std::vector<LogField> about;
  };
  std::vector<News> news_ ABSL_GUARDED_BY(mutex_);  // not yet told
  size_t news_left_out_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<v1::RewardSpec> newest_spec_ ABSL_GUARDED_BY(mutex_);  // nullopt: never swapped
  v1::Status status_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<std::string>> standing_warnings_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;                    // grows with every change
  StatusAges ages_ ABSL_GUARDED_BY(mutex_);
  std::string stage_ ABSL_GUARDED_BY(mutex_);  // of the run loop; empty: none
  absl::Time stage_began_ ABSL_GUARDED_BY(mutex_);
  FleetCounts fleet_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> paused_because_ ABSL_GUARDED_BY(mutex_);  // nullopt: not paused
  std::string pause_cause_ ABSL_GUARDED_BY(mutex_);
  const absl::Time made_at_;
  absl::Duration held_ ABSL_GUARDED_BY(mutex_);                     // in pauses that are over
  std::optional<absl::Time> held_since_ ABSL_GUARDED_BY(mutex_);    // while the run loop waits in one
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_run_finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_interrupted_ ABSL_GUARDED_BY(mutex_) = false;

  // In the order of their tickets, which is that of their coming.
  std::map<Ticket, LeaseWait> lease_waits_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<absl::Time, Ticket>> lease_deadlines_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> lease_waits_of_ ABSL_GUARDED_BY(mutex_);  // by actor
  std::map<Ticket, BehaviourWait> behaviour_waits_ ABSL_GUARDED_BY(mutex_);
  bool are_behaviours_due_ ABSL_GUARDED_BY(mutex_) = false;  // a version or a wait has come since they were looked at
  std::map<Ticket, StatusWait> status_waits_ ABSL_GUARDED_BY(mutex_);
  Ticket next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread dispatcher_;
};

}  // namespace flowawr
