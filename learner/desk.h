// Where the learner's services and its run loop meet: leases, groups that came in, policy versions, the status.
//
//   actors ── services ──> Desk <── RunLoop (the only one that trains and decides what comes next)
//
// One mutex guards everything; waits are bounded or end with Stop(). A waiting thread sleeps until something changes or
// the next lease expires, whichever comes first. Thread-safe. Decisions are the LeaseBook's, the BatchAssembler's and
// the group validator's; this class adds the lock, the clock and the waiting.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"
#include "flowawr/v1/control.pb.h"
#include "learner/batch_assembler.h"
#include "learner/group_validator.h"
#include "learner/lease_book.h"
#include "learner/policy_store.h"
#include "learner/spec_change.h"

namespace flowawr {

class Desk {
 public:
  // An actor not heard of for this long is gone; a live one must send heartbeats more often.
  static constexpr absl::Duration kGone = absl::Seconds(10);

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
  };
  explicit Desk(Options options);

  // ---- for the services ----
  // An actor begins (again): what one of that name held is lost. It may take leases once it `has_model`, which is to
  // say that its model is the run's. Returns whether the run has finished, so that it need not begin.
  bool Register(const std::string& actor_id, bool has_model);
  // Before it: whoever has that session speaks for the actor from now on. AlreadyExists while another session of that
  // actor lives, which is to say that it was heard of lately and its watch of the policy has not broken off;
  // ResourceExhausted when too many actors are known.
  absl::Status Claim(const std::string& actor_id, const std::string& session);
  // FailedPrecondition for an actor that did not register with that session.
  absl::Status CheckSession(const std::string& actor_id, const std::string& session) const;
  // The actor's stream of policy versions began, or broke off.
  void SetWatching(const std::string& actor_id, const std::string& session, bool is_watching);
  // Waits up to `wait` for a lease that may be granted. Grants none when `is_cancelled`, asked at every change, says
  // so. FailedPrecondition for an actor that did not register with this learner, unless the run has finished.
  absl::StatusOr<v1::AcquireLeaseResponse> Acquire(const std::string& actor_id, absl::Duration wait,
                                                   const std::function<bool()>& is_cancelled);
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
  // The newest behaviour version once it is above `after`; null when `wait` passes or the desk stops.
  std::shared_ptr<const StoredPolicy> WaitForBehaviour(uint64_t after, absl::Duration wait);
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
  // Waits up to `wait` until the status has changed since `seen` (0: at once) and it is `not_before`; sets `seen`.
  v1::Status WaitForStatus(uint64_t* seen, absl::Time not_before, absl::Duration wait) const;
  void UpdateStatus(const std::function<void(v1::Status&)>& change);

  // ---- for the run loop ----
  absl::StatusOr<std::shared_ptr<const StoredPolicy>> Publish(const LoraAdapter& adapter, v1::PolicyRole role,
                                                              uint64_t update);
  uint64_t next_version() const;
  void Offer(std::vector<v1::Lease> leases);
  // Rewards were swapped: see learner/spec_change.h for which groups take the new spec.
  void SetRewardSpec(const v1::RewardSpec& spec);
  // The next batch; nullopt when the desk stops or is interrupted. Groups of versions below `oldest_version` are leased
  // anew on the way.
  std::optional<std::vector<Group>> WaitForBatch(uint64_t oldest_version);
  // Evaluation groups as they come in, until `count` are there; nullopt as above; what came in stays for the next call.
  std::optional<std::vector<Group>> WaitForEvaluation(size_t count);
  uint64_t next_group() const;
  std::set<uint64_t> consumed_groups() const;

  // No lease is granted while paused. The status says PAUSED and `why` for as long, whatever phase the run loop is in.
  void Pause(const std::string& why);
  void Resume();
  bool is_paused() const;
  // Returns when the run is not paused, on Interrupt() and Stop().
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
  struct Actor {
    absl::Time seen;
    bool may_lease = false;
    uint64_t groups = 0, adopted_version = 0;
    bool was_told_finished = false;
    std::map<std::string, double> stage_seconds;
    std::string session;
    bool has_lost_watch = false;
  };
  // Other actors that may lease and are alive.
  std::vector<std::string> OthersThan(const std::string& actor_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what GroupsToMove() says; `is_stuck` as there.
  void MoveToNewestSpec(bool is_stuck) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether leases ran out of attempts. If that was under a reward spec that was swapped since, all move to the new one
  // and there are attempts again.
  bool IsExhausted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Null for one that never registered.
  Actor* FindActor(const std::string& actor_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsGone(const Actor& actor) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Now() - actor.seen >= kGone; }
  bool CanGrant() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Until the next change, the next expiry of a lease, or `until`.
  void WaitForChange(absl::Time until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
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
  std::optional<v1::RewardSpec> newest_spec_ ABSL_GUARDED_BY(mutex_);  // nullopt: never swapped
  v1::Status status_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;                    // grows with every change
  std::optional<std::string> paused_because_ ABSL_GUARDED_BY(mutex_);  // nullopt: not paused
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_run_finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_interrupted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
