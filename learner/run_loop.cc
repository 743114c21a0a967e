#include "learner/run_loop.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/config/model_card.h"
#include "common/tensor/image.h"
#include "learner/evaluation.h"
#include "learner/flowawr.h"
#include "learner/schedules.h"

namespace flowawr {
namespace {

// [terms, groups, samples] f64
at::Tensor StackRewards(const std::vector<Group>& batch) {
  std::vector<at::Tensor> rewards;
  for (const Group& group : batch) rewards.push_back(group.rewards);
  return at::stack(rewards, 1);
}

std::vector<double> Weights(const v1::RewardSpec& spec) {
  std::vector<double> weights;
  for (const v1::RewardSpecTerm& term : spec.terms()) weights.push_back(term.weight());
  return weights;
}

double FiniteMean(const at::Tensor& values) { return at::nanmean(values).item<double>(); }

Image ImageOf(const Group& group, int64_t sample) {
  const at::Tensor pixels = group.images[sample].contiguous();
  Image image{static_cast<int>(pixels.size(0)), static_cast<int>(pixels.size(1)), std::string(pixels.numel(), '\0')};
  std::memcpy(image.rgb.data(), pixels.const_data_ptr<uint8_t>(), image.rgb.size());
  return image;
}

}  // namespace

// Adds the time from its construction to its end to a stage of the status.
class RunLoop::StageTimer {
 public:
  StageTimer(Desk& desk, std::string stage) : desk_(desk), stage_(std::move(stage)) {}
  ~StageTimer() {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - started_);
    desk_.UpdateStatus([&](v1::Status& status) { (*status.mutable_learner_seconds())[stage_] += seconds; });
  }

 private:
  Desk& desk_;
  const std::string stage_;
  const absl::Time started_ = absl::Now();
};

RunLoop::RunLoop(Parts parts)
    : config_(std::move(parts.config)),
      train_prompts_(std::move(parts.train_prompts)),
      heldout_prompts_(std::move(parts.heldout_prompts)),
      workers_(std::move(parts.workers)),
      events_(std::move(parts.events)),
      directory_(*parts.directory),
      desk_(*parts.desk),
      order_(config_.seed(), train_prompts_.size()),
      offered_end_(parts.manifest.next_group()),
      elapsed_before_(parts.manifest.elapsed_s()),
      actor_seconds_(elapsed_before_ > 0),
      started_(absl::Now()),
      roles_(std::move(parts.roles)),
      manifest_(std::move(parts.manifest)),
      saved_update_(manifest_.update()) {
  desk_.UpdateStatus([&](v1::Status& status) {
    status.set_run_id(manifest_.run_id());
    status.set_name(config_.name());
    status.set_run_dir(config_.run_dir());
    status.set_update(manifest_.update());
    status.set_updates_total(config_.train().updates());
    status.set_groups_accepted(manifest_.groups_accepted());
    status.set_samples_trained(manifest_.samples_trained());
    status.set_updates_skipped(manifest_.updates_skipped());
    *status.mutable_dropped() = manifest_.dropped();
    *status.mutable_reward_spec() = manifest_.reward_spec();
    status.set_elapsed_s(elapsed_before_);
    status.set_behaviour(config_.algorithm().behaviour());
    if (manifest_.has_base()) *status.mutable_base() = manifest_.base();
    if (manifest_.has_latest()) *status.mutable_latest() = manifest_.latest();
  });
}

double RunLoop::Elapsed() const { return elapsed_before_ + absl::ToDoubleSeconds(absl::Now() - started_); }

uint64_t RunLoop::updates() const {
  absl::MutexLock lock(&mutex_);
  return manifest_.update();
}

void RunLoop::SetPhase(v1::RunPhase phase, const std::string& message) {
  desk_.UpdateStatus([&](v1::Status& status) {
    status.set_phase(phase);
    status.set_message(message);
  });
}

absl::Status RunLoop::Run() {
  absl::Status status = RunUpdates();
  if (status.ok() || absl::IsCancelled(status)) {
    absl::MutexLock lock(&mutex_);
    if (manifest_.update() != saved_update_ || !manifest_.has_base())
      status = CheckpointLocked().status();
    else
      status = absl::OkStatus();
  }
  if (!status.ok()) SetPhase(v1::FAILED, std::string(status.message()));
  return status;
}

absl::Status RunLoop::RunUpdates() {
  bool has_base;
  {
    absl::MutexLock lock(&mutex_);
    has_base = manifest_.has_base();
  }
  if (!heldout_prompts_.empty() && !has_base) FLOWAWR_RETURN_IF_ERROR(Evaluate("base", v1::EVALUATING_BASE));
  FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  SetPhase(v1::RUNNING);
  const int every = config_.evaluation().every_updates();
  while (updates() < static_cast<uint64_t>(config_.train().updates())) {
    WaitWhilePaused();
    if (is_stopping()) return absl::CancelledError("stopped");
    OfferTraining();
    std::optional<std::vector<Group>> batch;
    {
      const StageTimer timer(desk_, "wait");
      const size_t allowed = static_cast<size_t>(config_.rollout().max_staleness()) + 1;
      batch =
          desk_.WaitForBatch(recent_versions_[recent_versions_.size() - std::min(allowed, recent_versions_.size())]);
    }
    if (!batch) {
      if (const std::optional<std::string> why = desk_.exhausted()) Hold(*why);
      continue;
    }
    FLOWAWR_RETURN_IF_ERROR(Update(*std::move(batch)));
    const uint64_t update = updates();
    if (update % config_.checkpoint().every_updates() == 0) {
      const StageTimer timer(desk_, "checkpoint");
      absl::StatusOr<std::string> saved = Checkpoint();
      while (!saved.ok() && !is_stopping()) {
        Hold(absl::StrCat("no checkpoint could be written: ", saved.status().message(), ". Then resume the run"));
        saved = Checkpoint();
      }
    }
    const bool is_last = update == static_cast<uint64_t>(config_.train().updates());
    if (every > 0 && update % every == 0 && !is_last && !heldout_prompts_.empty()) {
      OfferTraining();
      FLOWAWR_RETURN_IF_ERROR(Evaluate("latest", v1::RUNNING));
      if (config_.train().target_reward() != 0 && desk_.heldout_reward() >= config_.train().target_reward()) break;
    }
  }
  if (!heldout_prompts_.empty()) FLOWAWR_RETURN_IF_ERROR(Evaluate("final", v1::EVALUATING_FINAL));
  FLOWAWR_RETURN_IF_ERROR(Export(v1::AVERAGE_POLICY, "").status());
  FLOWAWR_RETURN_IF_ERROR(Checkpoint().status());
  SetPhase(v1::FINISHED);
  return absl::OkStatus();
}

void RunLoop::OfferTraining() {
  const uint64_t groups = config_.rollout().groups_per_batch();
  const std::set<uint64_t> consumed = desk_.consumed_groups();
  // Whole batches. What lies beyond is counted from here, not from the first group that is missing: one that is slow
  // must not make the others too few for a batch.
  const uint64_t trained = desk_.next_group() + consumed.size();
  uint64_t end = trained + groups * (1 + config_.rollout().max_staleness());
  std::vector<v1::Lease> leases;
  {
    absl::MutexLock lock(&mutex_);
    end = std::min(end, trained + groups * (config_.train().updates() - manifest_.update()));
    for (; offered_end_ < end; ++offered_end_) {
      if (consumed.contains(offered_end_)) continue;
      if (offered_++ % groups == 0) offered_spec_ = manifest_.reward_spec();
      v1::Lease& lease = leases.emplace_back();
      lease.set_group_id(offered_end_);
      lease.set_purpose(v1::TRAINING);
      *lease.mutable_prompt() = train_prompts_[order_.At(offered_end_)];
      lease.set_samples(config_.rollout().samples_per_group());
      lease.set_noise_seed(config_.seed());
      lease.set_policy_version(recent_versions_.back());
      *lease.mutable_reward_spec() = offered_spec_;
      *lease.mutable_sampler() = config_.sampler();
    }
  }
  if (!leases.empty()) desk_.Offer(std::move(leases));
}

absl::Status RunLoop::PublishBehaviour() {
  const StageTimer timer(desk_, "publish");
  absl::MutexLock lock(&mutex_);
  FLOWAWR_ASSIGN_OR_RETURN(const auto stored,
                           desk_.Publish(roles_.behaviour, v1::BEHAVIOUR_POLICY, manifest_.update()));
  const v1::PolicyVersion& policy = stored->header.policy();
  recent_versions_.push_back(policy.version());
  manifest_.set_behaviour_version(policy.version());
  manifest_.set_next_version(desk_.next_version());
  desk_.UpdateStatus([&](v1::Status& status) {
    status.set_policy_version(policy.version());
    status.set_behaviour_sha256(policy.sha256());
  });
  return absl::OkStatus();
}

absl::Status RunLoop::Update(std::vector<Group> batch) {
  const v1::RewardSpec spec = batch.front().lease.reward_spec();
  BatchEnergies energies;
  {
    const StageTimer timer(desk_, "energy");
    energies = CombineRewards(StackRewards(batch), Weights(spec), config_.rewards().combination(), config_.algorithm());
  }
  const bool is_skipped = energies.all_equal_groups == static_cast<int64_t>(batch.size());
  BatchGradient gradient;
  if (!is_skipped) {
    const StageTimer timer(desk_, "train");
    LoraAdapter current = [&] {
      absl::MutexLock lock(&mutex_);
      return roles_.current;
    }();
    std::map<uint64_t, std::shared_ptr<const StoredPolicy>> sampled_by;
    for (const Group& group : batch)
      sampled_by.try_emplace(group.lease.policy_version(), desk_.FindPolicy(group.lease.policy_version()));
    const auto old_adapter = [&](uint64_t version) -> const LoraAdapter* {
      const LoraAdapter& adapter = sampled_by.at(version)->adapter;
      return at::equal(adapter.flat(), current.flat()) ? nullptr : &adapter;
    };
    FLOWAWR_ASSIGN_OR_RETURN(gradient,
                             workers_->Compute(updates() + 1, batch, energies, current, old_adapter, is_stopping_));
  }
  double norm = 0, learning_rate = 0;
  {
    const StageTimer timer(desk_, "step");
    absl::MutexLock lock(&mutex_);
    learning_rate = LearningRate(config_.optimizer(), manifest_.update(), config_.train().updates());
    if (!is_skipped) norm = roles_.Apply(gradient.gradient, config_.optimizer(), learning_rate, config_.algorithm());
    if (!std::isfinite(norm))
      return absl::InternalError(absl::StrCat("the gradient of update ", manifest_.update() + 1,
                                              " is not finite; lower optimizer.learning_rate and resume"));
    manifest_.set_update(manifest_.update() + 1);
    manifest_.set_next_group(desk_.next_group());
    const std::set<uint64_t> consumed = desk_.consumed_groups();
    *manifest_.mutable_consumed_groups() = {consumed.begin(), consumed.end()};
    manifest_.set_groups_accepted(manifest_.groups_accepted() + batch.size());
    manifest_.set_updates_skipped(manifest_.updates_skipped() + (is_skipped ? 1 : 0));
    if (!is_skipped) manifest_.set_samples_trained(manifest_.samples_trained() + energies.energies.numel());
  }
  if (is_skipped)
    recent_versions_.push_back(recent_versions_.back());
  else
    FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  return WriteUpdate(gradient, norm, learning_rate, FiniteMean(energies.rewards), is_skipped);
}

absl::Status RunLoop::WriteUpdate(const BatchGradient& gradient, double norm, double learning_rate, double reward,
                                  bool is_skipped) {
  const double elapsed = Elapsed();
  uint64_t update, trained, skipped;
  {
    absl::MutexLock lock(&mutex_);
    update = manifest_.update(), trained = manifest_.samples_trained(), skipped = manifest_.updates_skipped();
    manifest_.set_elapsed_s(elapsed);
  }
  desk_.UpdateStatus([&](v1::Status& status) {
    status.set_update(update);
    status.set_samples_trained(trained);
    status.set_updates_skipped(skipped);
    status.set_reward_mean(reward);
    if (!is_skipped) status.set_loss(gradient.loss), status.set_kl(gradient.kl), status.set_grad_norm(norm);
    status.set_elapsed_s(elapsed);
    const double done = static_cast<double>(update), total = static_cast<double>(status.updates_total());
    status.set_remaining_s(elapsed / done * (total - done));
    status.set_groups_per_s(static_cast<double>(status.groups_accepted()) / elapsed);
  });
  std::map<std::string, double> seconds;
  for (const auto& [stage, total] : desk_.learner_seconds())
    seconds[stage] = total - std::exchange(seconds_written_[stage], total);
  const nlohmann::json line = {{"kind", "update"},
                               {"update", update},
                               {"reward_mean", reward},
                               {"loss", gradient.loss},
                               {"kl", gradient.kl},
                               {"grad_norm", norm},
                               {"learning_rate", learning_rate},
                               {"elapsed_s", elapsed},
                               {"samples_trained", trained},
                               {"skipped", is_skipped},
                               {"seconds", seconds},
                               {"actor_seconds", actor_seconds_.Take(desk_.actor_seconds())}};
  FLOWAWR_RETURN_IF_ERROR(directory_.AppendMetrics(line.dump()));
  const int64_t step = static_cast<int64_t>(update);
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("train/reward", step, reward));
  if (is_skipped) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("train/loss", step, gradient.loss));
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("train/policy_loss", step, gradient.policy_loss));
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("train/kl", step, gradient.kl));
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("train/learning_rate", step, learning_rate));
  return events_->AddScalar("train/grad_norm", step, norm);
}

absl::Status RunLoop::Evaluate(const std::string& set, v1::RunPhase phase) {
  const StageTimer timer(desk_, "evaluate");
  SetPhase(phase, absl::StrCat("evaluating on held-out prompts (", set, ")"));
  const v1::EvaluationConfig& evaluation = config_.evaluation();
  const bool is_periodic = set == "latest";
  size_t count;
  {
    absl::MutexLock lock(&mutex_);
    FLOWAWR_ASSIGN_OR_RETURN(const auto stored, desk_.Publish(roles_.average, v1::AVERAGE_POLICY, manifest_.update()));
    manifest_.set_next_version(desk_.next_version());
    std::vector<v1::Lease> leases = EvaluationLeases(
        config_, heldout_prompts_, is_periodic ? evaluation.prompts() : evaluation.final_prompts(),
        is_periodic ? evaluation.latest_pictures() : evaluation.pictures(), stored->header.policy().version(), manifest_.reward_spec());
    count = leases.size();
    desk_.Offer(std::move(leases));
  }
  std::optional<std::vector<Group>> groups;
  while (!(groups = desk_.WaitForEvaluation(count))) {
    if (const std::optional<std::string> why = desk_.exhausted()) Hold(*why);
    WaitWhilePaused();
    if (is_stopping()) return absl::CancelledError("stopped");
  }
  const v1::EvaluationSummary summary = Summarise(*groups, updates());
  {
    absl::MutexLock lock(&mutex_);
    if (set == "base") *manifest_.mutable_base() = summary;
    *manifest_.mutable_latest() = summary;
    manifest_.set_elapsed_s(Elapsed());
  }
  desk_.UpdateStatus([&](v1::Status& status) {
    if (set == "base") *status.mutable_base() = summary;
    *status.mutable_latest() = summary;
    status.clear_message();
  });
  int picture = 0;
  for (const Group& group : *groups) {
    if (!group.images.defined()) continue;
    const Image image = ImageOf(group, 0);
    FLOWAWR_RETURN_IF_ERROR(directory_.SavePicture(set, picture++, image, PictureJson(group, 0, summary.update()), PictureText(config_, group, 0, summary.update())));
    FLOWAWR_RETURN_IF_ERROR(events_->AddImage(absl::StrCat("heldout/", picture), summary.update(), image));
  }
  return WriteEvaluation(set, summary);
}

absl::Status RunLoop::WriteEvaluation(const std::string& set, const v1::EvaluationSummary& summary) {
  const std::map<std::string, double> by_scorer(summary.by_scorer().begin(), summary.by_scorer().end());
  const nlohmann::json line = {{"kind", "evaluation"},
                               {"set", set},
                               {"update", summary.update()},
                               {"reward_mean", summary.reward_mean()},
                               {"reward_stderr", summary.reward_stderr()},
                               {"exact_share", summary.exact_share()},
                               {"images", summary.images()},
                               {"elapsed_s", Elapsed()},
                               {"by_scorer", by_scorer}};
  FLOWAWR_RETURN_IF_ERROR(directory_.AppendMetrics(line.dump()));
  const int64_t step = static_cast<int64_t>(summary.update());
  FLOWAWR_RETURN_IF_ERROR(events_->AddScalar("heldout/reward", step, summary.reward_mean()));
  return events_->AddScalar("heldout/exact_share", step, summary.exact_share());
}

absl::StatusOr<std::string> RunLoop::CheckpointLocked() {
  manifest_.set_elapsed_s(Elapsed());
  *manifest_.mutable_config() = config_;
  const std::map<std::string, uint64_t> dropped = desk_.dropped();
  *manifest_.mutable_dropped() = {dropped.begin(), dropped.end()};
  FLOWAWR_ASSIGN_OR_RETURN(std::string folder,
                           SaveCheckpoint(directory_.path(), manifest_, roles_, config_.checkpoint().keep()));
  saved_update_ = manifest_.update();
  desk_.UpdateStatus([&](v1::Status& changed) { changed.set_last_checkpoint(folder); });
  return folder;
}

absl::StatusOr<std::string> RunLoop::Checkpoint() {
  absl::MutexLock lock(&mutex_);
  return CheckpointLocked();
}

absl::StatusOr<ExportedLora> RunLoop::Export(v1::PolicyRole role, const std::string& folder) {
  absl::MutexLock lock(&mutex_);
  const auto write = [&](const LoraAdapter& adapter, const char* name) {
    v1::CheckpointManifest run = manifest_;
    *run.mutable_config() = config_;
    return directory_.Export(adapter, config_.model().path(), folder,
                             {.readme = ModelCard(run, name), .metadata = AdapterMetadata(run, name)});
  };
  switch (role) {
    case v1::REFERENCE_POLICY:
      return absl::InvalidArgumentError("the reference policy is the base model: it has no adapter to export");
    case v1::CURRENT_POLICY:
      return write(roles_.current, "current");
    case v1::BEHAVIOUR_POLICY:
      return write(roles_.behaviour, "behaviour");
    default:
      return write(roles_.average, "average");
  }
}

absl::StatusOr<v1::RewardSpec> RunLoop::SetRewardSpec(std::vector<v1::RewardSpecTerm> terms) {
  if (terms.empty()) return absl::InvalidArgumentError("a reward spec needs at least one term");
  for (const v1::RewardSpecTerm& term : terms)
    if (term.scorer().empty() || !std::isfinite(term.weight()) || !(term.timeout_s() > 0))
      return absl::InvalidArgumentError("every term needs a scorer, a finite weight and a time-out above 0 seconds");
  absl::MutexLock lock(&mutex_);
  v1::RewardSpec& spec = *manifest_.mutable_reward_spec();
  spec.set_version(spec.version() + 1);
  *spec.mutable_terms() = {terms.begin(), terms.end()};
  desk_.UpdateStatus([&](v1::Status& status) { *status.mutable_reward_spec() = spec; });
  return spec;
}

void RunLoop::SetPaused(bool is_paused) {
  if (is_paused) {
    desk_.Pause("paused; groups under way are finished and kept");
  } else {
    desk_.Resume();
  }
}

void RunLoop::Hold(const std::string& why) {
  desk_.Pause(why);
  WaitWhilePaused();
}

void RunLoop::WaitWhilePaused() {
  while (desk_.is_paused() && !is_stopping()) desk_.WaitWhilePaused();
}

void RunLoop::RequestStop() {
  is_stopping_ = true;
  desk_.Interrupt();
}

}  // namespace flowawr
