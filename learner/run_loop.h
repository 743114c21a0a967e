// The learner's loop: evaluate the base, then update after update, then evaluate and export the result.
//
//   offer leases -> wait for a batch -> signals -> gradient -> optimiser step -> publish -> checkpoint and evaluate
//   when due
//
// Run() is called once, by one thread. The other members may be called by any thread meanwhile: they take effect
// between two updates. Nothing is serialised for actors, and no gradient computed, while the mutex is held. Lock order:
// RunLoop, LeaseDesk, then as learner/lease_desk.h has it; RunLoop, RunFigures, StatusBoard.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/config/prompts.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/control.pb.h"
#include "learner/actor_seconds.h"
#include "learner/algorithm/algorithm.h"
#include "learner/checkpoint.h"
#include "learner/gradient_engine.h"
#include "learner/lease_desk.h"
#include "learner/policy_roles.h"
#include "learner/policy_shelf.h"
#include "learner/prompt_order.h"
#include "learner/reward_watch.h"
#include "learner/run_directory.h"
#include "learner/run_figures.h"
#include "learner/run_hold.h"
#include "learner/run_model.h"
#include "learner/run_record.h"
#include "learner/run_trace.h"
#include "learner/shadow_comparison.h"
#include "learner/stage_timer.h"
#include "learner/status_board.h"
#include "learner/update_result.h"

namespace flowawr {

class RunLoop {
 public:
  struct Parts {
    v1::RunConfig config;
    PromptSet train_prompts = {}, heldout_prompts = {};
    PolicyRoles roles;
    v1::CheckpointManifest manifest = {};  // where the run stands: of a checkpoint, or fresh with run_id and reward_spec
    std::shared_ptr<const Algorithm> algorithm = nullptr;  // as the engine, for Run() alone
    std::unique_ptr<GradientEngine> engine = nullptr;
    RunDirectory* directory;  // outlives the loop, as do the next four
    LeaseDesk* leases;
    PolicyShelf* policies;
    StatusBoard* board;
    const RunModel* model = nullptr;           // for checkpoints; null: `manifest` says it
    std::string default_reward_endpoint = "";  // of reward terms that name none
    std::string shadows = "", watch = "";      // a checkpoint's notes of these names
    std::string device = "";                   // the learner's kind, for checkpoints' kDeviceNote; empty: unknown
    // Called after every checkpoint, by the thread that saved it; null: nobody is told.
    std::function<void()> has_saved = nullptr;
    const Clock* clock = &Clock::Real();  // the board's
  };
  static constexpr char kShadowsNote[] = "shadows.json", kWatchNote[] = "reward_watch.json",
                        kDeviceNote[] = "device.txt";
  // Writes nothing into the run's folder: Run() does.
  explicit RunLoop(Parts parts);

  // Returns OK when the run is finished or was stopped with everything saved. What it cannot go on with (full disk, a
  // group that keeps failing) pauses the run with a message in the status instead of ending it. Whatever the error, the
  // updates done are saved if that can be done.
  absl::Status Run();
  void RequestStop() { hold_.RequestStop(); }
  // Whether Run() has come to the end of the run, which its checkpoint says as well.
  bool is_finished() const { return is_finished_; }

  absl::StatusOr<std::string> Checkpoint();
  absl::StatusOr<ExportedLora> Export(v1::PolicyRole role, const std::string& folder);
  // For batches that nothing was scored for yet; the answer's from_update says which is the first. Refused are: terms
  // that make no spec, or have a max_drop in a run without held-out prompts (InvalidArgument); when the spec is not of
  // version `replaces` (Aborted; nullopt: any will do); scorers that give no rewards (see ProbeScorers()); prompts that a
  // required one can never score, with a list (InvalidArgument). Only those terms are asked that the spec before does not
  // have. Cancelled when the caller `is_gone` once that is known. Then nothing has changed; nor has it when the new spec
  // cannot be written, unless the error says that a checkpoint with it may remain.
  absl::StatusOr<v1::RewardSpec> SetRewardSpec(
      const std::vector<v1::RewardSpecTerm>& terms, std::optional<uint64_t> replaces = std::nullopt,
      absl::FunctionRef<bool()> is_gone = [] { return false; });
  void SetPaused(bool is_paused);

 private:
  // ---- run_loop.cc
  absl::Status RunUpdates();
  absl::Status Finish();
  void OfferTraining();
  absl::Status PublishBehaviour();
  absl::Status CheckpointWhenWritable();
  // As it is now. Only this thread changes the roles: it may read what this returns without the lock.
  LoraAdapter Policy(LoraAdapter PolicyRoles::* role) const;
  StageTimer Time(const std::string& stage) { return StageTimer(figures_, trace_, stage, making_); }
  void SetPhase(v1::RunPhase phase, const std::string& message = "");
  // What the status warns of from now on; logs it.
  void Warn(std::vector<std::string> warnings);
  uint64_t updates() const;

  // ---- run_update.cc
  absl::Status Update(std::vector<Group> batch);
  // Takes groups out of the batch, and counts them, whose log-probabilities this learner does not find again; how far the
  // groups' are off. FailedPrecondition when none is left.
  absl::StatusOr<std::optional<Drift>> DropDrifted(std::vector<Group>& batch);
  // The optimiser steps of one update: the roles that they lead to, or nullopt when no group can move the policy, or the
  // update is refused and the run goes on. The record is told of either.
  absl::StatusOr<std::optional<PolicyRoles>> Train(const std::vector<Group>& batch, const BatchSignals& signals,
                                                   UpdateResult& record);
  // Of an update that `why` forbids: keeps the batch and counts the groups behind it. What people are told; an error when
  // the run may not go on.
  absl::StatusOr<std::string> Refuse(const std::vector<Group>& batch, const BatchSignals& signals,
                                     const BatchGradient& gradient, const absl::Status& why);
  // The batch was consumed; `moved` are the roles from now on, nullopt: the same.
  void Commit(const std::vector<Group>& batch, std::optional<PolicyRoles> moved);
  absl::Status Record(UpdateResult record);

  // ---- run_evaluation.cc
  absl::Status Evaluate(const std::string& set, v1::RunPhase phase);
  // `set`: base, latest or final.
  absl::Status SavePictures(const std::string& set, uint64_t update, const std::vector<Group>& groups);
  absl::Status RecordEvaluation(const std::string& set, const v1::EvaluationSummary& summary, uint64_t spec_version);
  // What follows from the newest evaluation: warns of watched rewards that fell or holds the run, as evaluation.on_drop
  // says it. Whether the run ends with it; then the manifest has the reason.
  absl::StatusOr<bool> EndsWithEvaluation();
  // Watched rewards that lie too low in the newest evaluation; fall_warnings_ is about them.
  std::vector<RewardFall> FindFalls();
  // Until somebody goes on in spite of them.
  absl::Status HoldForFalls(const std::vector<RewardFall>& falls);
  void WarnOfFalls();
  // Of a run that is finished: a line of metrics.jsonl, unless there is nothing to say.
  absl::Status RecordEnd();
  // Of the manifest; empty: none.
  void SetEndReason(const std::string& reason);

  // ---- run_requests.cc
  // Whether the terms of `wanted` that `now` does not have give rewards, for every prompt of the run.
  absl::Status CheckRewardsWork(const v1::RewardSpec& now, const v1::RewardSpec& wanted) const;
  absl::Status CheckReplaces(std::optional<uint64_t> replaces) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::string> CheckpointLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const v1::RunConfig config_;
  const PromptSet train_prompts_, heldout_prompts_;
  const std::shared_ptr<const Algorithm> algorithm_;
  const std::unique_ptr<GradientEngine> engine_;
  RunDirectory& directory_;
  LeaseDesk& leases_;
  PolicyShelf& policies_;
  StatusBoard& board_;
  const RunModel* const model_;
  const std::string default_reward_endpoint_;
  const std::string device_;
  const std::function<void()> has_saved_;
  const uint64_t groups_before_;                         // that this process began with, as what follows
  const std::map<std::string, uint64_t> dropped_before_;
  RunFigures figures_;
  RunHold hold_;
  std::atomic<bool> is_finished_ = false;

  // Of the thread that runs.
  RunRecord record_;
  RunTrace trace_;
  PromptOrder order_;
  uint64_t making_ = 0;                    // the update under way, or the newest
  uint64_t trained_spec_ = 0;              // version of the rewards of the newest update; 0: none by this process
  uint64_t offered_end_;                   // training groups below it were offered
  uint64_t offered_ = 0;                   // training groups, by this process
  v1::RewardSpec offered_spec_;            // of the last of them; a new one begins after whole batches only
  std::vector<std::string> fall_warnings_;  // of the newest evaluation
  std::vector<uint64_t> recent_versions_;  // behaviour version by update, the newest last
  ActorSeconds actor_seconds_;

  mutable absl::Mutex mutex_;  // held while an update is applied, a checkpoint written, an adapter exported
  PolicyRoles roles_ ABSL_GUARDED_BY(mutex_);  // changed by the thread that runs alone
  ShadowComparison shadows_ ABSL_GUARDED_BY(mutex_);
  RewardWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::vector<HeldoutReward> heldout_ ABSL_GUARDED_BY(mutex_);  // of all evaluations
  v1::CheckpointManifest manifest_ ABSL_GUARDED_BY(mutex_);
  bool is_changed_ ABSL_GUARDED_BY(mutex_);  // what a checkpoint would save, since the last one
};

}  // namespace flowawr
