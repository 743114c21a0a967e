#include "learner/run_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status.h"
#include "common/config/run_status.h"

namespace flowawr {
namespace {

// What held-out rewards depend on beside the policy, as far as a resumed run may have it otherwise.
std::string MeasuredBy(const v1::EvaluationConfig& evaluation, const v1::CheckpointManifest& manifest) {
  return absl::StrCat("prompts ", manifest.heldout_prompts().sha256(), ", ", evaluation.samples_per_prompt(), " each, ",
                      evaluation.steps(), " steps of ", v1::Solver_Name(evaluation.solver()));
}

bool IsWatched(const v1::RewardSpec& spec) {
  return std::any_of(spec.terms().begin(), spec.terms().end(),
                     [](const v1::RewardSpecTerm& term) { return term.max_drop() > 0; });
}

}  // namespace

RunLoop::RunLoop(Parts parts)
    : config_(std::move(parts.config)),
      train_prompts_(std::move(parts.train_prompts)),
      heldout_prompts_(std::move(parts.heldout_prompts)),
      algorithm_(std::move(parts.algorithm)),
      engine_(std::move(parts.engine)),
      directory_(*parts.directory),
      leases_(*parts.leases),
      policies_(*parts.policies),
      board_(*parts.board),
      model_(parts.model),
      default_reward_endpoint_(std::move(parts.default_reward_endpoint)),
      device_(std::move(parts.device)),
      has_saved_(std::move(parts.has_saved)),
      groups_before_(parts.manifest.groups_accepted()),
      dropped_before_(parts.manifest.dropped().begin(), parts.manifest.dropped().end()),
      figures_(parts.manifest.elapsed_s(), &board_, parts.clock),
      hold_(&leases_, &figures_,
            [this](absl::Time date, absl::Duration length) { trace_.Stage("paused", date, length, making_); }),
      record_(&directory_, &hold_),
      order_(config_.seed(), train_prompts_.size()),
      offered_end_(parts.manifest.next_group()),
      actor_seconds_(/*is_resumed=*/parts.manifest.elapsed_s() > 0),
      roles_(std::move(parts.roles)),
      manifest_(std::move(parts.manifest)),
      is_changed_(!manifest_.has_config()) {
  shadows_.Restore(parts.shadows);
  manifest_.set_is_finished(false);  // it goes on
  manifest_.clear_end_reason();
  // What was under way at a swap is not any more: the next update is of the new spec.
  v1::RewardSpec& spec = *manifest_.mutable_reward_spec();
  spec.set_from_update(std::min(spec.from_update(), manifest_.update() + 1));
  watch_ = RewardWatch(MeasuredBy(config_.evaluation(), manifest_));
  if (!watch_.Restore(parts.watch) && manifest_.has_latest() && IsWatched(spec))
    spdlog::warn("falls of held-out rewards are measured from the next evaluation on: the checkpoint has none that this "
                 "run's evaluations, as they are now, could be compared with");
  watch_.Keep(spec);
  v1::Status begin = StatusOfManifest(manifest_, config_);
  const std::vector<v1::ShadowReward> shadows = shadows_.figures();
  begin.mutable_shadows()->Assign(shadows.begin(), shadows.end());
  board_.Update([&](v1::Status& status) { status = begin; });
}

uint64_t RunLoop::updates() const {
  absl::MutexLock lock(&mutex_);
  return manifest_.update();
}

LoraAdapter RunLoop::Policy(LoraAdapter PolicyRoles::* role) const {
  absl::MutexLock lock(&mutex_);
  return roles_.*role;
}

void RunLoop::SetPhase(v1::RunPhase phase, const std::string& message) {
  board_.Update([&](v1::Status& status) {
    status.set_phase(phase);
    status.set_message(message);
  });
}

void RunLoop::Warn(std::vector<std::string> warnings) {
  for (const std::string& warning : warnings) spdlog::warn("{}", warning);
  warnings.insert(warnings.end(), fall_warnings_.begin(), fall_warnings_.end());
  board_.Update([&](v1::Status& status) { status.mutable_warnings()->Assign(warnings.begin(), warnings.end()); });
}

absl::Status RunLoop::Run() {
  absl::Status status = record_.Open();
  trace_.Open(directory_.path(), config_.telemetry().trace_mib());
  {
    absl::MutexLock lock(&mutex_);
    heldout_ = directory_.ReadHeldoutRewards();
  }
  if (status.ok()) status = RunUpdates();
  if (status.ok()) status = Finish();
  absl::MutexLock lock(&mutex_);
  const bool is_as_wanted = status.ok() || absl::IsCancelled(status);
  if (is_as_wanted) status = absl::OkStatus();
  // A run that failed before anything was made begins anew in its folder.
  const bool is_worth_saving = is_as_wanted || manifest_.update() > 0 || manifest_.has_latest();
  if (is_changed_ && is_worth_saving) status.Update(CheckpointLocked().status());
  if (!status.ok()) SetPhase(v1::FAILED, std::string(status.message()));
  return status;
}

absl::Status RunLoop::RunUpdates() {
  const uint64_t last = config_.train().updates();
  bool has_base;
  {
    absl::MutexLock lock(&mutex_);
    has_base = manifest_.has_base();
    spdlog::info("{} of {} updates are done, of {} groups of {} images each; {} training prompts, {} held out",
                 manifest_.update(), last, config_.rollout().groups_per_batch(),
                 config_.rollout().samples_per_group(), train_prompts_.size(), heldout_prompts_.size());
  }
  if (!heldout_prompts_.empty() && !has_base)
    FLOWAWR_RETURN_IF_ERROR(Evaluate("base", v1::EVALUATING_BASE));
  FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  SetPhase(v1::RUNNING);
  if (has_base && updates() < last) {  // a process before may have been killed before it did what its newest one asks for
    FLOWAWR_ASSIGN_OR_RETURN(const bool ends, EndsWithEvaluation());
    if (ends) return absl::OkStatus();
  }
  const int evaluate_every = heldout_prompts_.empty() ? 0 : config_.evaluation().every_updates();
  absl::Time began = absl::Now();
  while (updates() < last) {
    making_ = updates() + 1;
    hold_.WaitWhilePaused();
    if (hold_.is_stopping()) return absl::CancelledError("stopped");
    OfferTraining();
    std::optional<std::vector<Group>> batch;
    {
      const StageTimer timer = Time("wait");
      const size_t allowed = static_cast<size_t>(config_.rollout().max_staleness()) + 1;
      batch =
          leases_.WaitForBatch(recent_versions_[recent_versions_.size() - std::min(allowed, recent_versions_.size())]);
    }
    if (!batch) {
      if (const std::optional<std::string> why = leases_.exhausted()) hold_.Hold(*why, "attempts");
      continue;
    }
    trace_.Groups(*batch);
    FLOWAWR_RETURN_IF_ERROR(Update(*std::move(batch)));
    trace_.Stage("update", began, absl::Now() - began, making_);
    const uint64_t update = updates();
    if (update % config_.checkpoint().every_updates() == 0) {
      const StageTimer timer = Time("checkpoint");
      FLOWAWR_RETURN_IF_ERROR(CheckpointWhenWritable());
    }
    if (evaluate_every > 0 && update % evaluate_every == 0 && update != last) {
      OfferTraining();
      FLOWAWR_RETURN_IF_ERROR(Evaluate("latest", v1::RUNNING));
      FLOWAWR_ASSIGN_OR_RETURN(const bool ends, EndsWithEvaluation());
      if (ends) break;
    }
    began = absl::Now();
  }
  return absl::OkStatus();
}

absl::Status RunLoop::Finish() {
  if (!heldout_prompts_.empty()) {
    FLOWAWR_RETURN_IF_ERROR(Evaluate("final", v1::EVALUATING_FINAL));
    FindFalls();
    WarnOfFalls();  // no more than that: there is nothing left to hold
  }
  FLOWAWR_RETURN_IF_ERROR(
      hold_.Persist("the exported adapter", [this] { return Export(v1::AVERAGE_POLICY, "").status(); }));
  FLOWAWR_RETURN_IF_ERROR(RecordEnd());
  std::string message;
  {
    absl::MutexLock lock(&mutex_);
    manifest_.set_is_finished(true);
    is_changed_ = true;
    message = EndMessage(manifest_);
  }
  FLOWAWR_RETURN_IF_ERROR(CheckpointWhenWritable());
  SetPhase(v1::FINISHED, message);
  is_finished_ = true;
  spdlog::info("finished after {} updates and {:.0f} s{}", updates(), figures_.elapsed_s(),
               message.empty() ? "" : absl::StrCat("; ", message));
  return absl::OkStatus();
}

absl::Status RunLoop::CheckpointWhenWritable() {
  return hold_.Persist("the checkpoint", [this] { return Checkpoint().status(); });
}

void RunLoop::OfferTraining() {
  const uint64_t groups = config_.rollout().groups_per_batch();
  const LeaseDesk::Consumed consumed = leases_.consumed();
  // Whole batches. What lies beyond is counted from here, not from the first group that is missing: one that is slow
  // must not make the others too few for a batch.
  const uint64_t trained = consumed.next_group + consumed.above.size();
  uint64_t end = trained + groups * (1 + config_.rollout().max_staleness());
  std::vector<v1::Lease> leases;
  absl::MutexLock lock(&mutex_);
  end = std::min(end, trained + groups * (config_.train().updates() - manifest_.update()));
  for (; offered_end_ < end; ++offered_end_) {
    if (consumed.above.contains(offered_end_)) continue;
    if (offered_++ % groups == 0) offered_spec_ = manifest_.reward_spec();
    v1::Lease& lease = leases.emplace_back();
    lease.set_group_id(offered_end_);
    lease.set_purpose(v1::TRAINING);
    *lease.mutable_prompt() = train_prompts_[order_.At(offered_end_)];
    lease.set_samples(config_.rollout().samples_per_group());
    lease.set_noise_seed(config_.seed());
    lease.set_policy_version(recent_versions_.back());
    *lease.mutable_reward_spec() = offered_spec_;
    algorithm_->PrepareLease(lease);
  }
  // Under the lock: a swap that came between would not find them.
  if (!leases.empty()) leases_.Offer(std::move(leases));
}

absl::Status RunLoop::PublishBehaviour() {
  const StageTimer timer = Time("publish");
  // Without the lock: it takes its time.
  FLOWAWR_ASSIGN_OR_RETURN(const auto stored,
                           policies_.Publish(Policy(&PolicyRoles::behaviour), v1::BEHAVIOUR_POLICY, updates()));
  const v1::PolicyVersion& policy = stored->header.policy();
  recent_versions_.push_back(policy.version());
  {
    absl::MutexLock lock(&mutex_);
    manifest_.set_behaviour_version(policy.version());
    manifest_.set_next_version(policies_.next_version());
  }
  board_.Update([&](v1::Status& status) {
    status.set_policy_version(policy.version());
    status.set_behaviour_sha256(policy.sha256());
  });
  return absl::OkStatus();
}

}  // namespace flowawr
