#include "learner/run_loop.h"

#include <spdlog/spdlog.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/model_card.h"
#include "common/scoring/reward_spec_check.h"
#include "common/scoring/scorer_probe.h"
#include "common/telemetry/log.h"
#include "common/tensor/image.h"
#include "learner/default_endpoint.h"
#include "learner/evaluation.h"
#include "learner/flowawr.h"
#include "learner/not_finite.h"
#include "learner/picture_history.h"
#include "learner/prompt_sets.h"
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

nlohmann::json OrNull(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json MissingJson(const RewardFigures& figures) {
  nlohmann::json missing = nlohmann::json::object();
  for (const auto& [scorer, of] : figures.missing) missing[scorer] = of.images;
  return missing;
}

nlohmann::json ShadowsJson(const std::vector<v1::ShadowReward>& shadows) {
  nlohmann::json json = nlohmann::json::object();
  for (const v1::ShadowReward& shadow : shadows) {
    json[shadow.scorer()] = {{"groups", shadow.groups()}};
    if (shadow.groups() == 0) continue;
    json[shadow.scorer()]["rank_correlation"] = shadow.rank_correlation();
    json[shadow.scorer()]["best_differs"] = shadow.best_differs();
  }
  return json;
}

// A line of metrics.jsonl, so that whoever compares rewards sees where they stop being the same.
nlohmann::json SwapJson(const v1::RewardSpec& spec, uint64_t update) {
  nlohmann::json terms = nlohmann::json::array();
  for (const v1::RewardSpecTerm& term : spec.terms())
    terms.push_back({{"scorer", term.scorer()},
                     {"endpoint", term.endpoint()},
                     {"weight", term.weight()},
                     {"is_required", term.is_required()},
                     {"timeout_s", term.timeout_s()}});
  return {{"kind", "reward_spec"}, {"update", update}, {"reward_spec", spec.version()}, {"terms", terms}};
}

std::string ShowOrMissing(const std::optional<double>& value) {
  return value ? absl::StrFormat("%.4f", *value) : "missing";
}

Image ImageOf(const Group& group, int64_t sample) {
  const at::Tensor pixels = group.images[sample].contiguous();
  Image image{static_cast<int>(pixels.size(0)), static_cast<int>(pixels.size(1)), std::string(pixels.numel(), '\0')};
  std::memcpy(image.rgb.data(), pixels.const_data_ptr<uint8_t>(), image.rgb.size());
  return image;
}

}  // namespace

// Adds the time from its construction to its end to a stage of the status, and to the timeline.
class RunLoop::StageTimer {
 public:
  StageTimer(RunLoop& loop, std::string stage) : loop_(loop), stage_(std::move(stage)) { loop_.desk_.BeginStage(stage_); }
  ~StageTimer() {
    loop_.desk_.EndStage();
    loop_.trace_.Stage(stage_, date_, MonotonicNow() - started_, loop_.making_);
  }

 private:
  RunLoop& loop_;
  const std::string stage_;
  const absl::Time started_ = MonotonicNow();
  const absl::Time date_ = absl::Now();
};

RunLoop::RunLoop(Parts parts)
    : config_(std::move(parts.config)),
      train_prompts_(std::move(parts.train_prompts)),
      heldout_prompts_(std::move(parts.heldout_prompts)),
      workers_(std::move(parts.workers)),
      directory_(*parts.directory),
      desk_(*parts.desk),
      model_(parts.model),
      default_reward_endpoint_(std::move(parts.default_reward_endpoint)),
      order_(config_.seed(), train_prompts_.size()),
      offered_end_(parts.manifest.next_group()),
      elapsed_before_(parts.manifest.elapsed_s()),
      actor_seconds_(elapsed_before_ > 0),
      has_saved_(std::move(parts.has_saved)),
      roles_(std::move(parts.roles)),
      manifest_(std::move(parts.manifest)),
      is_changed_(!manifest_.has_config()) {
  shadows_.Restore(parts.shadows);
  const std::vector<v1::ShadowReward> shadows = shadows_.figures();
  // What was under way at a swap is not any more: the next update is of the new spec.
  v1::RewardSpec& spec = *manifest_.mutable_reward_spec();
  spec.set_from_update(std::min(spec.from_update(), manifest_.update() + 1));
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
    status.mutable_shadows()->Assign(shadows.begin(), shadows.end());
    status.set_elapsed_s(elapsed_before_);
    status.set_behaviour(config_.algorithm().behaviour());
    if (manifest_.has_base()) *status.mutable_base() = manifest_.base();
    if (manifest_.has_latest()) *status.mutable_latest() = manifest_.latest();
  });
}

double RunLoop::Elapsed() const { return elapsed_before_ + absl::ToDoubleSeconds(desk_.running_time()); }

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
  absl::Status status = Persist("the TensorBoard events", [this]() -> absl::Status {
    FLOWAWR_ASSIGN_OR_RETURN(events_, EventWriter::Create(directory_.path() + "/events"));
    return absl::OkStatus();
  });
  trace_.Open(directory_.path(), config_.telemetry().trace_mib());
  {
    absl::MutexLock lock(&mutex_);
    heldout_ = directory_.ReadHeldoutRewards();
  }
  if (status.ok()) status = RunUpdates();
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
  bool has_base;
  {
    absl::MutexLock lock(&mutex_);
    has_base = manifest_.has_base();
    spdlog::info("{} of {} updates are done, of {} groups of {} images each; {} training prompts, {} held out",
                 manifest_.update(), config_.train().updates(), config_.rollout().groups_per_batch(),
                 config_.rollout().samples_per_group(), train_prompts_.size(), heldout_prompts_.size());
  }
  if (!heldout_prompts_.empty() && !has_base) FLOWAWR_RETURN_IF_ERROR(Evaluate("base", v1::EVALUATING_BASE));
  FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  SetPhase(v1::RUNNING);
  const int every = config_.evaluation().every_updates();
  absl::Time began = absl::Now();
  while (updates() < static_cast<uint64_t>(config_.train().updates())) {
    making_ = updates() + 1;
    WaitWhilePaused();
    if (is_stopping()) return absl::CancelledError("stopped");
    OfferTraining();
    std::optional<std::vector<Group>> batch;
    {
      const StageTimer timer(*this, "wait");
      const size_t allowed = static_cast<size_t>(config_.rollout().max_staleness()) + 1;
      batch =
          desk_.WaitForBatch(recent_versions_[recent_versions_.size() - std::min(allowed, recent_versions_.size())]);
    }
    if (!batch) {
      if (const std::optional<std::string> why = desk_.exhausted()) Hold(*why, "attempts");
      continue;
    }
    trace_.Groups(*batch);
    FLOWAWR_RETURN_IF_ERROR(Update(*std::move(batch)));
    trace_.Stage("update", began, absl::Now() - began, making_);
    const uint64_t update = updates();
    if (update % config_.checkpoint().every_updates() == 0) {
      const StageTimer timer(*this, "checkpoint");
      FLOWAWR_RETURN_IF_ERROR(Persist("the checkpoint", [this] { return Checkpoint().status(); }));
    }
    const bool is_last = update == static_cast<uint64_t>(config_.train().updates());
    if (every > 0 && update % every == 0 && !is_last && !heldout_prompts_.empty()) {
      OfferTraining();
      FLOWAWR_RETURN_IF_ERROR(Evaluate("latest", v1::RUNNING));
      const std::optional<double> reached = desk_.heldout_reward();
      if (config_.train().target_reward() != 0 && reached && *reached >= config_.train().target_reward()) break;
    }
    began = absl::Now();
  }
  if (!heldout_prompts_.empty()) FLOWAWR_RETURN_IF_ERROR(Evaluate("final", v1::EVALUATING_FINAL));
  FLOWAWR_RETURN_IF_ERROR(
      Persist("the exported adapter", [this] { return Export(v1::AVERAGE_POLICY, "").status(); }));
  FLOWAWR_RETURN_IF_ERROR(Persist("the checkpoint", [this] { return Checkpoint().status(); }));
  SetPhase(v1::FINISHED);
  spdlog::info("finished after {} updates and {:.0f} s", updates(), Elapsed());
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
    // Under the lock: a swap that came between would not find them.
    if (!leases.empty()) desk_.Offer(std::move(leases));
  }
}

absl::Status RunLoop::PublishBehaviour() {
  const StageTimer timer(*this, "publish");
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
  const LogFields fields({{"update", making_}});
  const v1::RewardSpec spec = batch.front().lease.reward_spec();
  if (trained_spec_ != 0 && spec.version() != trained_spec_)
    trace_.Mark(absl::StrCat("rewards of version ", spec.version(), " from update ", making_, " on"));
  trained_spec_ = spec.version();
  BatchEnergies energies;
  {
    const StageTimer timer(*this, "energy");
    energies = CombineRewards(StackRewards(batch), Weights(spec), config_.rewards().combination(), config_.algorithm());
  }
  const bool is_skipped = energies.all_equal_groups == static_cast<int64_t>(batch.size());
  const BatchFigures batch_figures =
      MeasureBatch(batch, energies, config_.algorithm().energy_clip(), recent_versions_);
  BatchGradient gradient;
  if (!is_skipped) {
    const StageTimer timer(*this, "train");
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
    if (!gradient.not_finite.empty() || !std::isfinite(gradient.loss)) return NotFinite(batch, gradient);
  }
  double norm = 0, learning_rate = 0;
  {
    const StageTimer timer(*this, "step");
    absl::MutexLock lock(&mutex_);
    learning_rate = LearningRate(config_.optimizer(), manifest_.update(), config_.train().updates());
    if (!is_skipped) norm = roles_.Apply(gradient.gradient, config_.optimizer(), learning_rate, config_.algorithm());
    if (!std::isfinite(norm))
      return absl::InternalError(absl::StrCat("the gradients of update ", manifest_.update() + 1,
                                              " are finite, their sum is not: every group is as far off"));
    is_changed_ = true;
    manifest_.set_update(manifest_.update() + 1);
    manifest_.set_next_group(desk_.next_group());
    const std::set<uint64_t> consumed = desk_.consumed_groups();
    *manifest_.mutable_consumed_groups() = {consumed.begin(), consumed.end()};
    manifest_.set_groups_accepted(manifest_.groups_accepted() + batch.size());
    manifest_.set_updates_skipped(manifest_.updates_skipped() + (is_skipped ? 1 : 0));
    if (!is_skipped) manifest_.set_samples_trained(manifest_.samples_trained() + energies.energies.numel());
    v1::RewardSpec& newest = *manifest_.mutable_reward_spec();
    const bool is_earlier = spec.version() == newest.version() && newest.from_update() > manifest_.update();
    const bool is_later = spec.version() < newest.version() && newest.from_update() <= manifest_.update();
    if (is_earlier || is_later) {  // groups were moved to it, or stale ones of the rewards before were made again
      newest.set_from_update(manifest_.update() + (is_later ? 1 : 0));
      desk_.UpdateStatus([&](v1::Status& status) { *status.mutable_reward_spec() = newest; });
    }
  }
  if (is_skipped)
    recent_versions_.push_back(recent_versions_.back());
  else
    FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  const RewardFigures figures = MeasureRewards(batch);
  {
    absl::MutexLock lock(&mutex_);
    shadows_.Add(batch, config_.rewards().combination() == v1::DECOUPLED ? energies.energies : energies.rewards);
  }
  Warn(MissingRewardWarnings(figures, absl::StrCat("update ", updates())));
  return WriteUpdate(is_skipped ? nullptr : &gradient, norm, learning_rate, figures, batch_figures, spec.version());
}

absl::Status RunLoop::NotFinite(const std::vector<Group>& batch, const BatchGradient& gradient) {
  for (const size_t i : gradient.not_finite) {
    desk_.CountDrop("not_finite_gradient");
    spdlog::error("loss or gradient not finite: {}", DescribeMadeGroup(batch[i]));
  }
  return NotFiniteError(updates() + 1, batch, gradient.not_finite);
}

void RunLoop::Warn(std::vector<std::string> warnings) {
  for (const std::string& warning : warnings) spdlog::warn("{}", warning);
  desk_.UpdateStatus([&](v1::Status& status) {
    status.mutable_warnings()->Assign(warnings.begin(), warnings.end());
  });
}

absl::Status RunLoop::Persist(const std::string& what, const std::function<absl::Status()>& write) {
  while (true) {
    const absl::Status written = write();
    if (written.ok() || is_stopping()) return written;
    spdlog::error("{} could not be written: {}", what, written.ToString());
    Hold(absl::StrCat(what, " could not be written: ", written.message(), ". Then resume the run"), "disk");
  }
}

absl::Status RunLoop::WriteUpdate(const BatchGradient* gradient, double norm, double learning_rate,
                                  const RewardFigures& figures, const BatchFigures& batch, uint64_t spec_version) {
  const double elapsed = Elapsed();
  std::vector<v1::ShadowReward> shadows;
  uint64_t update, trained, skipped;
  {
    absl::MutexLock lock(&mutex_);
    shadows = shadows_.figures();
    update = manifest_.update(), trained = manifest_.samples_trained(), skipped = manifest_.updates_skipped();
    manifest_.set_elapsed_s(elapsed);
  }
  desk_.UpdateStatus([&](v1::Status& status) {
    status.set_update(update);
    status.set_samples_trained(trained);
    status.set_updates_skipped(skipped);
    if (figures.mean)
      status.set_reward_mean(*figures.mean);
    else
      status.clear_reward_mean();
    ShowBatch(batch, figures, status);
    status.set_update_age_s(0);
    if (gradient != nullptr)
      status.set_loss(gradient->loss), status.set_kl(gradient->kl), status.set_grad_norm(norm);
    status.mutable_shadows()->Assign(shadows.begin(), shadows.end());
    status.set_elapsed_s(elapsed);
    const double done = static_cast<double>(update), total = static_cast<double>(status.updates_total());
    status.set_remaining_s(elapsed / done * (total - done));
    status.set_groups_per_s(static_cast<double>(status.groups_accepted()) / elapsed);
  });
  std::map<std::string, double> seconds;
  for (const auto& [stage, total] : desk_.learner_seconds())
    seconds[stage] = total - std::exchange(seconds_written_[stage], total);
  const auto trained_value = [&](double value) { return gradient == nullptr ? nlohmann::json() : nlohmann::json(value); };
  const BatchGradient values = gradient == nullptr ? BatchGradient() : *gradient;
  const nlohmann::json line = {{"kind", "update"},
                               {"update", update},
                               {"reward_mean", OrNull(figures.mean)},
                               {"by_scorer", figures.by_scorer},
                               {"missing", MissingJson(figures)},
                               {"reward_spec", spec_version},
                               {"shadows", ShadowsJson(shadows)},
                               {"loss", trained_value(values.loss)},
                               {"kl", trained_value(values.kl)},
                               {"grad_norm", trained_value(norm)},
                               {"learning_rate", learning_rate},
                               {"elapsed_s", elapsed},
                               {"samples_trained", trained},
                               {"skipped", gradient == nullptr},
                               {"seconds", seconds},
                               {"actor_seconds", actor_seconds_.Take(desk_.actor_seconds())}};
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  const LogFields figure_fields({{"version", recent_versions_.back()},
                                 {"reward", figures.mean.value_or(nothing)},
                                 {"loss", gradient == nullptr ? nothing : values.loss},
                                 {"kl", gradient == nullptr ? nothing : values.kl},
                                 {"grad_norm", gradient == nullptr ? nothing : norm}});
  spdlog::info("update {} of {}: reward {}{}", update, config_.train().updates(), ShowOrMissing(figures.mean),
               gradient == nullptr
                   ? ", skipped: all rewards of each group are equal"
                   : absl::StrFormat(", loss %.4f, kl %.5f, gradient norm %.3f", values.loss, values.kl, norm));
  FLOWAWR_RETURN_IF_ERROR(Persist("metrics.jsonl", [&] { return directory_.AppendMetrics(line.dump()); }));
  std::vector<std::pair<std::string, double>> scalars;
  if (figures.mean) scalars.emplace_back("train/reward", *figures.mean);
  if (gradient != nullptr) {
    for (const auto& [tag, value] : {std::pair("train/loss", values.loss), std::pair("train/policy_loss", values.policy_loss),
                                     std::pair("train/kl", values.kl), std::pair("train/learning_rate", learning_rate),
                                     std::pair("train/grad_norm", norm)})
      scalars.emplace_back(tag, value);
  }
  for (const v1::ShadowReward& shadow : shadows) {
    if (shadow.groups() == 0) continue;
    scalars.emplace_back(absl::StrCat("shadow/", shadow.scorer(), "/rank_correlation"), shadow.rank_correlation());
    scalars.emplace_back(absl::StrCat("shadow/", shadow.scorer(), "/best_differs"), shadow.best_differs());
  }
  return WriteScalars(static_cast<int64_t>(update), scalars);
}

absl::Status RunLoop::WriteScalars(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  for (const auto& [tag, value] : scalars)
    FLOWAWR_RETURN_IF_ERROR(Persist("the TensorBoard events", [&, tag = tag, value = value] {
      return events_->AddScalar(tag, step, value);
    }));
  return absl::OkStatus();
}

absl::Status RunLoop::Evaluate(const std::string& set, v1::RunPhase phase) {
  const LogFields fields({{"update", updates()}});
  const StageTimer timer(*this, "evaluate");
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
        is_periodic ? evaluation.latest_pictures() : evaluation.pictures(), stored->header.policy().version(),
        manifest_.reward_spec());
    count = leases.size();
    spdlog::info("evaluating after update {}: {} held-out prompts, {} images ({})", manifest_.update(), count,
                 count * evaluation.samples_per_prompt(), set);
    desk_.Offer(std::move(leases));
  }
  std::optional<std::vector<Group>> groups;
  while (!(groups = desk_.WaitForEvaluation(count))) {
    if (const std::optional<std::string> why = desk_.exhausted()) Hold(*why, "attempts");
    WaitWhilePaused();
    if (is_stopping()) return absl::CancelledError("stopped");
  }
  trace_.Groups(*groups);
  const v1::EvaluationSummary summary = Summarise(*groups, updates());
  Warn(MissingRewardWarnings(MeasureRewards(*groups), absl::StrCat("the evaluation after update ", summary.update())));
  {
    absl::MutexLock lock(&mutex_);
    if (set == "base") *manifest_.mutable_base() = summary;
    *manifest_.mutable_latest() = summary;
    is_changed_ = true;
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
    // Those of the evaluations in between are kept beside, as the next one writes over them.
    std::vector<std::string> places = {set};
    if (is_periodic && picture < kHistoryPictures) places.push_back(PictureHistoryFolder(summary.update()));
    for (const std::string& place : places)
      FLOWAWR_RETURN_IF_ERROR(Persist("a held-out picture", [&] {
        return directory_.SavePicture(place, picture, image, PictureJson(group, 0, summary.update()),
                                      PictureText(config_, group, 0, summary.update()));
      }));
    ++picture;
    FLOWAWR_RETURN_IF_ERROR(Persist("the TensorBoard events", [&] {
      return events_->AddImage(absl::StrCat("heldout/", picture), summary.update(), image);
    }));
  }
  if (is_periodic) directory_.ThinPictureHistory();
  return WriteEvaluation(set, summary, groups->empty() ? 0 : groups->front().lease.reward_spec().version());
}

absl::Status RunLoop::WriteEvaluation(const std::string& set, const v1::EvaluationSummary& summary,
                                      uint64_t spec_version) {
  const std::map<std::string, double> by_scorer(summary.by_scorer().begin(), summary.by_scorer().end());
  const std::map<std::string, uint64_t> missing(summary.missing().begin(), summary.missing().end());
  const auto optional = [](bool has, double value) { return has ? std::optional(value) : std::nullopt; };
  const std::optional<double> reward = optional(summary.has_reward_mean(), summary.reward_mean());
  const std::optional<double> exact = optional(summary.has_exact_share(), summary.exact_share());
  if (reward) {
    absl::MutexLock lock(&mutex_);
    heldout_.push_back({summary.update(), *reward, spec_version});
  }
  const nlohmann::json line = {{"kind", "evaluation"},
                               {"set", set},
                               {"update", summary.update()},
                               {"reward_mean", OrNull(reward)},
                               {"reward_stderr", OrNull(optional(summary.has_reward_stderr(), summary.reward_stderr()))},
                               {"exact_share", OrNull(exact)},
                               {"images", summary.images()},
                               {"elapsed_s", Elapsed()},
                               {"by_scorer", by_scorer},
                               {"missing", missing},
                               {"reward_spec", spec_version}};
  spdlog::info("held-out after update {}: reward {}, {} images", summary.update(), ShowOrMissing(reward),
               summary.images());
  FLOWAWR_RETURN_IF_ERROR(Persist("metrics.jsonl", [&] { return directory_.AppendMetrics(line.dump()); }));
  std::vector<std::pair<std::string, double>> scalars;
  if (reward) scalars.emplace_back("heldout/reward", *reward);
  if (exact) scalars.emplace_back("heldout/exact_share", *exact);
  return WriteScalars(static_cast<int64_t>(summary.update()), scalars);
}

absl::StatusOr<std::string> RunLoop::CheckpointLocked() {
  manifest_.set_elapsed_s(Elapsed());
  *manifest_.mutable_config() = config_;
  if (model_ != nullptr) RecordModel(model_->parts(), &manifest_);
  const std::map<std::string, uint64_t> dropped = desk_.dropped();
  *manifest_.mutable_dropped() = {dropped.begin(), dropped.end()};
  CheckpointExtras extras;
  if (!shadows_.figures().empty()) extras.notes[kShadowsNote] = shadows_.ToJson();
  // Rewards of another spec are other rewards.
  for (const HeldoutReward& heldout : heldout_)
    if (heldout.spec_version == manifest_.reward_spec().version()) extras.heldout[heldout.update] = heldout.reward;
  FLOWAWR_ASSIGN_OR_RETURN(
      std::string folder,
      SaveCheckpoint(directory_.path(), manifest_, roles_,
                     {.keep = config_.checkpoint().keep(), .keep_best = config_.checkpoint().keep_best()}, extras));
  if (has_saved_) has_saved_();
  is_changed_ = false;
  spdlog::info("checkpoint {}", folder);
  desk_.UpdateStatus([&](v1::Status& changed) {
    changed.set_last_checkpoint(folder);
    changed.set_checkpoint_age_s(0);
  });
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
    absl::StatusOr<ExportedLora> exported =
        directory_.Export(adapter, config_.model().path(), folder,
                          {.readme = ModelCard(run, name), .metadata = AdapterMetadata(run, name)});
    if (exported.ok()) spdlog::info("exported the {} policy to {}", name, exported->peft_folder);
    return exported;
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

absl::Status RunLoop::CheckReplaces(std::optional<uint64_t> replaces) const {
  const uint64_t now = manifest_.reward_spec().version();
  if (!replaces || *replaces == now) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("the rewards were changed meanwhile: they are version ", now, " by now, not ",
                                         *replaces, "; look at them and try again"));
}

absl::Status RunLoop::CheckRewardsWork(const v1::RewardSpec& now, const v1::RewardSpec& wanted) const {
  v1::RewardSpec probed = TermsToProbe(now, wanted);
  FillInEndpoints(default_reward_endpoint_, &probed);
  for (const v1::RewardSpecTerm& term : probed.terms())
    if (term.endpoint().empty())
      return absl::InvalidArgumentError(absl::StrCat("reward ", term.scorer(), " names no reward server, and this run ",
                                                     "has none of its own: give it an endpoint, HOST:PORT"));
  ProbePicture picture{.height = config_.model().height(), .width = config_.model().width()};
  if (!train_prompts_.empty()) picture.prompt = train_prompts_[0];
  const absl::Status probe = ProbeScorers(probed, config_.network(), picture);
  if (!probe.ok() && !absl::IsInvalidArgument(probe)) return probe;
  // What cannot be scored is told of all prompts at once.
  FLOWAWR_RETURN_IF_ERROR(Annotate(CheckScorable(probed, config_.network(), train_prompts_, heldout_prompts_),
                                   "the new ones are not for all prompts"));
  return probe;
}

absl::StatusOr<v1::RewardSpec> RunLoop::SetRewardSpec(const std::vector<v1::RewardSpecTerm>& terms,
                                                      std::optional<uint64_t> replaces,
                                                      absl::FunctionRef<bool()> is_gone) {
  v1::RewardSpec wanted, seen;
  *wanted.mutable_terms() = {terms.begin(), terms.end()};
  FLOWAWR_RETURN_IF_ERROR(CheckRewardSpec(wanted.terms(), config_.rewards().combination()));
  {
    absl::MutexLock lock(&mutex_);
    FLOWAWR_RETURN_IF_ERROR(CheckReplaces(replaces));
    seen = manifest_.reward_spec();
  }
  // Outside the lock: servers are asked, and a large set takes a while.
  FLOWAWR_RETURN_IF_ERROR(Annotate(CheckRewardsWork(seen, wanted), "the rewards stay as they are"));
  if (is_gone()) return absl::CancelledError("the rewards were not swapped: nobody waits for it any more");
  absl::MutexLock lock(&mutex_);
  FLOWAWR_RETURN_IF_ERROR(CheckReplaces(replaces));
  const v1::RewardSpec before = manifest_.reward_spec();
  v1::RewardSpec& spec = *manifest_.mutable_reward_spec();
  *spec.mutable_terms() = wanted.terms();
  spec.set_version(before.version() + 1);
  spec.set_from_update(manifest_.update() + 1);  // of a run that is resumed from here
  // What was answered to the caller must hold after a crash, too.
  absl::Status written = CheckpointLocked().status();
  if (written.ok()) written = directory_.AppendMetrics(SwapJson(spec, manifest_.update()).dump());
  if (!written.ok()) {
    spec = before;
    // The refused spec may be on disk already: a run resumed from there must not train on it.
    is_changed_ = true;
    const absl::Status restored = CheckpointLocked().status();
    return Annotate(written, restored.ok() ? "the rewards were not swapped"
                                           : absl::StrCat("the rewards were not swapped, but a checkpoint with the new "
                                                          "ones may remain until the next can be written (",
                                                          restored.message(), ")"));
  }
  spec.set_from_update(desk_.SetRewardSpec(spec));
  spdlog::info("rewards swapped after update {}, from update {} on: {}", manifest_.update(), spec.from_update(),
               SwapJson(spec, manifest_.update()).dump());
  return spec;
}

void RunLoop::SetPaused(bool is_paused) {
  spdlog::info("{} on request", is_paused ? "paused" : "resumed");
  if (is_paused) {
    desk_.Pause("paused; groups under way are finished and kept");
  } else {
    desk_.Resume();
  }
}

void RunLoop::Hold(const std::string& why, const std::string& cause) {
  spdlog::warn("paused: {}", why);
  desk_.Pause(why, cause);
  WaitWhilePaused();
}

void RunLoop::WaitWhilePaused() {
  if (!desk_.is_paused()) return;
  const absl::Time began = MonotonicNow(), date = absl::Now();
  const absl::Cleanup draw = [&] { trace_.Stage("paused", date, MonotonicNow() - began, making_); };
  while (desk_.is_paused() && !is_stopping()) desk_.WaitWhilePaused();
}

void RunLoop::RequestStop() {
  is_stopping_ = true;
  desk_.Interrupt();
}

}  // namespace flowawr
