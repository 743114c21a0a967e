// The learner's loop: evaluate the base, then update after update, then evaluate and export the result.
//
//   offer leases -> wait for a batch -> energies -> gradient -> optimiser step -> publish -> checkpoint and evaluate
//   when due
//
// Run() is called once, by one thread. The other members may be called by any thread meanwhile: they take effect
// between two updates.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/config/prompts.h"
#include "common/sd3/transformer.h"
#include "common/telemetry/event_writer.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/control.pb.h"
#include "learner/actor_seconds.h"
#include "learner/batch_figures.h"
#include "learner/checkpoint.h"
#include "learner/desk.h"
#include "learner/gradient_workers.h"
#include "learner/policy_roles.h"
#include "learner/prompt_order.h"
#include "learner/reward_figures.h"
#include "learner/run_directory.h"
#include "learner/run_model.h"
#include "learner/run_trace.h"
#include "learner/shadow_comparison.h"

namespace flowawr {

class RunLoop {
 public:
  struct Parts {
    v1::RunConfig config;
    PromptSet train_prompts, heldout_prompts;
    PolicyRoles roles;
    v1::CheckpointManifest manifest;  // where the run stands: of a checkpoint, or fresh with run_id and reward_spec
    std::unique_ptr<GradientWorkers> workers;
    RunDirectory* directory;  // outlives the loop, as do `desk` and `model`
    Desk* desk;
    const RunModel* model = nullptr;      // for checkpoints; null: `manifest` says it
    std::string default_reward_endpoint;  // of reward terms that name none
    std::string shadows;                  // a checkpoint's note of that name
    std::function<void()> has_saved;      // called after every checkpoint, by the thread that saved it; null: nobody is told
  };
  static constexpr char kShadowsNote[] = "shadows.json";
  // Writes nothing into the run's folder: Run() does.
  explicit RunLoop(Parts parts);

  // Returns OK when the run is finished or was stopped with everything saved. What it cannot go on with (full disk, a
  // group that keeps failing) pauses the run with a message in the status instead of ending it. Whatever the error, the
  // updates done are saved if that can be done.
  absl::Status Run();
  void RequestStop();

  absl::StatusOr<std::string> Checkpoint();
  absl::StatusOr<ExportedLora> Export(v1::PolicyRole role, const std::string& folder);
  // For batches that nothing was scored for yet; the answer's from_update says which is the first. Refused are: terms
  // that make no spec (InvalidArgument); when the spec is not of version `replaces` (Aborted; nullopt: any will do);
  // scorers that give no rewards (see ProbeScorers()); prompts that a required one can never score, with a list
  // (InvalidArgument). Only those terms are asked that the spec before does not have. Cancelled when the caller
  // `is_gone` once that is known. Then nothing has changed; nor has it when the new spec cannot be written, unless the
  // error says that a checkpoint with it may remain.
  absl::StatusOr<v1::RewardSpec> SetRewardSpec(
      const std::vector<v1::RewardSpecTerm>& terms, std::optional<uint64_t> replaces = std::nullopt,
      absl::FunctionRef<bool()> is_gone = [] { return false; });
  void SetPaused(bool is_paused);

 private:
  class StageTimer;

  absl::Status RunUpdates();
  absl::Status Update(std::vector<Group> batch);
  void OfferTraining();
  absl::Status PublishBehaviour();
  absl::Status Evaluate(const std::string& set, v1::RunPhase phase);
  // `gradient` is null for an update that was skipped.
  absl::Status WriteUpdate(const BatchGradient* gradient, double norm, double learning_rate,
                           const RewardFigures& figures, const BatchFigures& batch, uint64_t spec_version);
  // Whether the terms of `wanted` that `now` does not have give rewards, for every prompt of the run.
  absl::Status CheckRewardsWork(const v1::RewardSpec& now, const v1::RewardSpec& wanted) const;
  absl::Status CheckReplaces(std::optional<uint64_t> replaces) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `set`: base, latest or final.
  absl::Status WriteEvaluation(const std::string& set, const v1::EvaluationSummary& summary, uint64_t spec_version);
  absl::Status WriteScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
  // Of a loss or a gradient that is not finite: an error that names the groups behind it, which are counted.
  absl::Status NotFinite(const std::vector<Group>& batch, const BatchGradient& gradient);
  // What the status warns of from now on; logs what is new.
  void Warn(std::vector<std::string> warnings);
  // Writes something of the run. While that fails the run is held, with `what` in the message, and it is tried again
  // whenever somebody resumes; the error once somebody stops the run.
  absl::Status Persist(const std::string& what, const std::function<absl::Status()>& write);
  absl::StatusOr<std::string> CheckpointLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Pauses with `why` and waits until somebody resumes or stops the run. `cause`: see Desk::Pause().
  void Hold(const std::string& why, const std::string& cause);
  void WaitWhilePaused();
  void SetPhase(v1::RunPhase phase, const std::string& message = "");
  bool is_stopping() const { return is_stopping_; }
  double Elapsed() const;  // seconds over all resumes, without pauses
  uint64_t updates() const;

  const v1::RunConfig config_;
  const PromptSet train_prompts_, heldout_prompts_;
  const std::unique_ptr<GradientWorkers> workers_;
  std::unique_ptr<EventWriter> events_;  // of the thread that runs; null before
  RunTrace trace_;
  uint64_t trained_spec_ = 0;  // version of the rewards of the newest update; 0: none by this process
  uint64_t making_ = 0;  // the update under way, or the newest; of the thread that runs
  RunDirectory& directory_;
  Desk& desk_;
  const RunModel* const model_;
  const std::string default_reward_endpoint_;
  PromptOrder order_;
  uint64_t offered_end_;                           // training groups below it were offered
  uint64_t offered_ = 0;                           // training groups, by this process
  v1::RewardSpec offered_spec_;                    // of the last of them; a new one begins after whole batches only
  std::vector<uint64_t> recent_versions_;          // behaviour version by update, the newest last
  std::map<std::string, double> seconds_written_;  // by stage, up to the last line of metrics.jsonl
  const double elapsed_before_;
  ActorSeconds actor_seconds_;
  const std::function<void()> has_saved_;
  std::atomic<bool> is_stopping_ = false;

  mutable absl::Mutex mutex_;  // held while an update is applied, a checkpoint written, an adapter exported
  PolicyRoles roles_ ABSL_GUARDED_BY(mutex_);
  ShadowComparison shadows_ ABSL_GUARDED_BY(mutex_);
  std::vector<HeldoutReward> heldout_ ABSL_GUARDED_BY(mutex_);  // of all evaluations
  v1::CheckpointManifest manifest_ ABSL_GUARDED_BY(mutex_);
  bool is_changed_ ABSL_GUARDED_BY(mutex_);  // what a checkpoint would save, since the last one
};

}  // namespace flowawr
