// Where actors and the run loop meet: leases out, groups in.
//
//   actors ── RolloutService ──> LeaseDesk <── RunLoop (the only one that trains and decides what comes next)
//                                 │     └──> StatusBoard: is told of every change, asks what there is to show
//                                 └────────> PolicyShelf: which version a group was made with
//
// What the service waits for is no thread that sleeps but an entry in a list: thousands of actors wait at once. The
// dispatcher answers them in the order in which they came, when something changes, a lease expires or their time is
// over. The run loop waits in its own thread. Waits are bounded or end with Stop().
//
// One mutex guards everything; nothing is parsed while it is held, and no callback is called. Lock order:
// StatusBoard's sources, LeaseDesk, then one of PolicyShelf, StatusBoard, Dispatcher. Thread-safe. Decisions are the
// LeaseBook's, the ActorBook's, the BatchAssembler's and the group validator's; this class adds the lock, the clock and
// the waiting.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"
#include "learner/actor_book.h"
#include "learner/batch_assembler.h"
#include "learner/dispatcher.h"
#include "learner/group_validator.h"
#include "learner/lease_book.h"
#include "learner/lease_waits.h"
#include "learner/policy_shelf.h"
#include "learner/status_board.h"

namespace flowawr {

class LeaseDesk final : private StatusSource {
 public:
  // An honest actor waits for one lease at a time; after a lost connection an older wait may still be there.
  static constexpr size_t kMaxWaitsOfAnActor = 4;
  // Whoever waits: it bounds the memory, not the actors.
  static constexpr size_t kMaxWaits = 1 << 16;

  struct Options {
    LeaseBook::Options leases;
    BatchAssembler::Options batches;
    uint64_t next_group = 0;
    std::set<uint64_t> consumed_groups;
    GroupShape shape;
    std::string default_reward_endpoint;               // for reward-spec terms that name none
    absl::Duration heartbeat = ActorBook::kGone / 2;  // what live actors were told
    const Clock* clock = &Clock::Real();
    // Hears, in the dispatcher's thread and without a lock, of actors that come, go and fail; null: the log does.
    ActorNews::Tell tell;
  };
  // Both outlive it.
  LeaseDesk(Options options, PolicyShelf* policies, StatusBoard* board);
  // Ends what still waits, as Stop() does.
  ~LeaseDesk() override;

  // ---- actors
  // An actor begins (again): what one of that name held is lost. It may take leases once it `has_model`, which is to
  // say that its model is the run's. `address`: from where it calls, for people. Returns whether the run has finished,
  // so that it need not begin.
  bool Register(const std::string& actor_id, bool has_model, const std::string& address = "");
  // Before it: whoever has that session speaks for the actor from now on, and waits for leases of its earlier sessions
  // end with FailedPrecondition. AlreadyExists while another session of that actor lives, which is to say that it was
  // heard of lately and its watch of the policy has not broken off; ResourceExhausted when too many actors are known.
  absl::Status Claim(const std::string& actor_id, const std::string& session);
  // FailedPrecondition for an actor that did not register with that session.
  absl::Status CheckSession(const std::string& actor_id, const std::string& session) const;
  // The actor's stream of policy versions began; 0 when that session is not the actor's.
  ActorBook::WatchId BeginWatch(const std::string& actor_id, const std::string& session);
  // It broke off: nobody is kept from the actor's name any longer. Of no effect unless the actor began it last, and
  // since it registered last: the server may hear of the end of an older one when the actor is back long since.
  void EndWatch(const std::string& actor_id, ActorBook::WatchId watch);
  // As PolicyShelf::CheckAdoption(), whose refusals are counted; an adoption is shown.
  absl::Status ReportAdoption(const v1::ReportAdoptionRequest& request);
  // The actor ends in good order: it is forgotten, and what it should still hold waits again.
  void Leave(const std::string& actor_id);

  // ---- leases and groups
  // Waits up to `wait` for a lease that may be granted; an answer without one means that there was none. Errors:
  // FailedPrecondition for an actor that did not register with this learner, unless the run has finished;
  // ResourceExhausted when it waits kMaxWaitsOfAnActor times already, or too many do. `done` is called once, from any
  // thread, without a lock: perhaps before this returns, and at the latest when the wait is cancelled or the desk stops.
  // It must not block.
  WaitTicket Acquire(const std::string& actor_id, absl::Duration wait, LeaseWaits::OnLease done);
  // Ends a wait, unless it has been answered: its callback gets Cancelled, and the lease goes to others.
  void CancelWait(WaitTicket ticket);
  // FailedPrecondition as above.
  absl::StatusOr<v1::RenewLeasesResponse> Renew(const v1::RenewLeasesRequest& request);
  // Of an attempt that failed or was handed back. NotFound when the actor does not hold it.
  absl::Status Fail(const v1::FailLeaseRequest& request);
  // Checks a group by its header and returns the largest blob it may have. AlreadyExists when it was accepted before,
  // NotFound for an unknown lease, PermissionDenied for one that the actor never held, else as CheckHeader(). Refusals
  // are counted by cause.
  absl::StatusOr<uint64_t> CheckSubmission(const v1::GroupHeader& header);
  absl::Status Accept(const v1::GroupHeader& header, std::string blob);
  // Counts a group that is lost otherwise, e.g. in a stream with a wrong digest.
  void CountDrop(const std::string& cause);

  // ---- for the run loop
  void Offer(std::vector<v1::Lease> leases);
  // Rewards were swapped: see learner/spec_change.h for which groups take the new spec. Returns the spec's from_update,
  // which it sets, there and on the board: the first update that no group of an older spec is left for.
  uint64_t SetRewardSpec(v1::RewardSpec spec);
  // The next batch; nullopt when the desk stops or is interrupted. Groups of versions below `oldest_version` are leased
  // anew on the way, and so are those that nobody has made yet: their version is soon not kept any more.
  std::optional<std::vector<Group>> WaitForBatch(uint64_t oldest_version);
  // Evaluation groups as they come in, until `count` are there; nullopt as above; what came in stays for the next call.
  std::optional<std::vector<Group>> WaitForEvaluation(size_t count);
  // Training groups below `next_group`, and those in `above`, were in a batch.
  struct Consumed {
    uint64_t next_group = 0;
    std::set<uint64_t> above;
  };
  Consumed consumed() const;
  // Since the desk was made.
  uint64_t groups_accepted() const;
  std::map<std::string, uint64_t> dropped() const;  // by cause
  std::map<std::string, std::map<std::string, double>> actor_seconds() const;  // by actor, of those not gone, and stage
  FleetCounts fleet() const;

  // No lease is granted while paused. The status says PAUSED and `why` for as long, whatever phase the run loop is in.
  // `cause` is a word for metrics: operator, disk, attempts, reward. On request of a run that is paused already: nothing,
  // as why it cannot go on is worth more than that somebody does not want it to.
  static constexpr char kOnRequest[] = "operator";
  void Pause(const std::string& why, const std::string& cause = kOnRequest);
  void Resume();
  bool is_paused() const;
  // Returns when the run is not paused, on Interrupt() and Stop(). For the run loop's thread.
  void WaitWhilePaused();
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
  void AddTo(v1::Status& status) const override;
  absl::Time Now() const { return options_.clock->Now(); }
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop(const std::string& cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Count a group that is refused, and give its error: it came in before; or it is leased anew, to be scored by other
  // rewards, or to be sampled by a newer version.
  absl::Status Duplicate(uint64_t group_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Swapped(uint64_t group_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Stale(uint64_t group_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of a group whose header was found good, once its blob is there: whether its lease is still open and asks for this.
  absl::Status CheckStillWanted(const v1::GroupHeader& header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Training groups of versions below the oldest that may be trained on, made or not, are leased anew.
  void MoveToNewestVersion(uint64_t oldest_version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what GroupsToMove() says; `is_stuck` as there.
  void MoveToNewestSpec(bool is_stuck) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether leases ran out of attempts. If that was under a reward spec that was swapped since, all move to the new one
  // and there are attempts again.
  bool IsExhausted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CanGrant() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What an actor is answered now; nullopt: it has to wait.
  std::optional<absl::StatusOr<v1::AcquireLeaseResponse>> TryAcquire(const std::string& actor_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the dispatcher has to tell and to answer.
  absl::Time Answer(Dispatcher::Answers& answers);
  void AnswerWaits(Dispatcher::Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // For the run loop: until the next change or the next expiry of a lease.
  void WaitForChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a wait of the run loop ends now, though what it waits for has not come.
  bool IsInterrupted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_stopped_ || std::exchange(is_interrupted_, false);
  }

  const Options options_;
  PolicyShelf& policies_;
  StatusBoard& board_;
  mutable absl::Mutex mutex_;
  SteadyCondVar changed_;  // for threads that wait: the run loop's, and the learner's at the end
  LeaseBook leases_ ABSL_GUARDED_BY(mutex_);
  ActorBook actors_ ABSL_GUARDED_BY(mutex_);
  BatchAssembler batches_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Group> evaluation_
      ABSL_GUARDED_BY(mutex_);                            // by group id, so that their order does not depend on arrival
  size_t evaluation_wanted_ ABSL_GUARDED_BY(mutex_) = 0;  // groups that WaitForEvaluation was last asked for
  std::optional<v1::RewardSpec> newest_spec_ ABSL_GUARDED_BY(mutex_);  // nullopt: never swapped
  uint64_t groups_accepted_ ABSL_GUARDED_BY(mutex_) = 0, samples_accepted_ ABSL_GUARDED_BY(mutex_) = 0;  // for training
  std::map<std::string, uint64_t> dropped_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> paused_because_ ABSL_GUARDED_BY(mutex_);  // nullopt: not paused
  std::string pause_cause_ ABSL_GUARDED_BY(mutex_);
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_run_finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  LeaseWaits waits_ ABSL_GUARDED_BY(mutex_);
  Dispatcher dispatcher_;
};

}  // namespace flowawr
