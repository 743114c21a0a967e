// One update: from a batch of groups to a policy version.
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/telemetry/log.h"
#include "learner/bad_update.h"
#include "learner/batch_parts.h"
#include "learner/not_finite.h"
#include "learner/run_loop.h"
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

// The adapters that sampled the groups of a batch, which stay alive with it.
class OldAdapters {
 public:
  OldAdapters(const PolicyShelf& policies, const std::vector<Group>& batch, const LoraAdapter& current)
      : current_(current) {
    for (const Group& group : batch)
      by_version_.try_emplace(group.lease.policy_version(), policies.Find(group.lease.policy_version()));
  }

  // As GradientRequest::old_adapter; must not outlive this.
  std::function<const LoraAdapter*(uint64_t version)> Find() const {
    return [this](uint64_t version) -> const LoraAdapter* {
      const LoraAdapter& adapter = by_version_.at(version)->adapter;
      return at::equal(adapter.flat(), current_.flat()) ? nullptr : &adapter;
    };
  }

 private:
  const LoraAdapter current_;
  std::map<uint64_t, std::shared_ptr<const StoredPolicy>> by_version_;
};

// Of the steps of one update; a figure that only some have is the mean of those.
UpdateResult::Trained MeanOf(const std::vector<UpdateResult::Trained>& steps) {
  UpdateResult::Trained mean;
  std::map<std::string, double> counts;
  for (const UpdateResult::Trained& step : steps) {
    mean.loss += step.loss / static_cast<double>(steps.size());
    mean.grad_norm += step.grad_norm / static_cast<double>(steps.size());
    for (const auto& [name, value] : step.figures) mean.figures[name] += value, ++counts[name];
  }
  for (auto& [name, value] : mean.figures) value /= counts[name];
  return mean;
}

}  // namespace

absl::Status RunLoop::Update(std::vector<Group> batch) {
  const LogFields fields({{"update", making_}});
  const v1::RewardSpec spec = batch.front().lease.reward_spec();
  if (trained_spec_ != 0 && spec.version() != trained_spec_)
    trace_.Mark(absl::StrCat("rewards of version ", spec.version(), " from update ", making_, " on"));
  trained_spec_ = spec.version();
  UpdateResult record;
  record.spec_version = spec.version();
  {
    const StageTimer timer = Time("train");
    FLOWAWR_ASSIGN_OR_RETURN(record.log_prob_drift, DropDrifted(batch));
  }
  BatchSignals signals;
  {
    const StageTimer timer = Time("energy");
    signals = algorithm_->Signals(StackRewards(batch), Weights(spec));
    record.batch = MeasureBatch(batch, signals, recent_versions_);
  }
  record.rewards = MeasureRewards(batch);
  record.learning_rate = LearningRate(config_.optimizer(), updates(), config_.train().updates());
  FLOWAWR_ASSIGN_OR_RETURN(std::optional<PolicyRoles> moved, Train(batch, signals, record));
  Commit(batch, std::move(moved));
  if (record.trained)
    FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  else
    recent_versions_.push_back(recent_versions_.back());
  {
    absl::MutexLock lock(&mutex_);
    shadows_.Add(batch, config_.rewards().combination() == v1::DECOUPLED ? signals.values : signals.rewards);
    record.shadows = shadows_.figures();
  }
  std::vector<std::string> warnings = MissingRewardWarnings(record.rewards, absl::StrCat("update ", updates()));
  if (!record.refused.empty()) warnings.push_back(record.refused);
  Warn(std::move(warnings));
  return Record(std::move(record));
}

absl::StatusOr<std::optional<Drift>> RunLoop::DropDrifted(std::vector<Group>& batch) {
  const double most = algorithm_->needs().max_log_prob_drift;
  if (most == 0) return std::nullopt;
  const LoraAdapter current = Policy(&PolicyRoles::current);
  const std::vector<bool> unknown(batch.size(), false);
  const OldAdapters old(policies_, batch, current);
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<double> drifts,
                           engine_->LogProbDrift({.update = making_,
                                                  .batch = batch,
                                                  .signals = {},
                                                  .is_all_equal = unknown,
                                                  .current = current,
                                                  .old_adapter = old.Find(),
                                                  .is_cancelled = hold_.stopping()}));
  Drift drift;
  std::vector<Group> kept;
  for (size_t i = 0; i < batch.size(); ++i) {
    drift.mean += drifts[i] / static_cast<double>(batch.size());
    // A NaN is no agreement: it is kept as the greatest.
    drift.greatest = drifts[i] <= drift.greatest ? drift.greatest : drifts[i];
    if (drifts[i] <= most) {
      kept.push_back(std::move(batch[i]));
      continue;
    }
    leases_.CountDrop("log_prob_drift");
    spdlog::error("the log-probabilities differ by {:.3g}, more than algorithm.flow_grpo.max_log_prob_drift: {}",
                  drifts[i], DescribeMadeGroup(batch[i]));
  }
  if (kept.empty())
    return absl::FailedPreconditionError(absl::StrCat(
        "the log-probabilities of every group of update ", making_, " differ from the learner's by more than ",
        "algorithm.flow_grpo.max_log_prob_drift ", most, " (at most by ", drift.greatest,
        "): actors and learner compute too differently. Run both in one model.dtype and release, or raise the bound"));
  batch = std::move(kept);
  return drift;
}

absl::StatusOr<std::optional<PolicyRoles>> RunLoop::Train(const std::vector<Group>& batch, const BatchSignals& signals,
                                                          UpdateResult& record) {
  std::vector<int64_t> samples;
  int64_t all = 0;
  for (const Group& group : batch) samples.push_back(group.lease.samples()), all += samples.back();
  const int64_t parts = std::clamp<int64_t>(config_.algorithm().updates_per_batch(), 1, all);
  // A copy: an update is made whole or not at all, and others may read the roles meanwhile.
  PolicyRoles moved = [this] {
    absl::MutexLock lock(&mutex_);
    return roles_.Clone();
  }();
  std::vector<UpdateResult::Trained> steps;
  for (const SamplesByGroup& part : PartSamples(config_.seed(), making_, samples, parts)) {
    BatchGradient gradient;
    {
      const StageTimer timer = Time("train");
      const OldAdapters old(policies_, batch, moved.current);
      FLOWAWR_ASSIGN_OR_RETURN(gradient, engine_->Compute({.update = making_,
                                                           .batch = batch,
                                                           .signals = signals.values,
                                                           .is_all_equal = signals.is_all_equal,
                                                           .samples = part,
                                                           .current = moved.current,
                                                           .old_adapter = old.Find(),
                                                           .is_cancelled = hold_.stopping()}));
    }
    const StageTimer timer = Time("step");
    double norm = 0;
    absl::Status status = CheckUpdate(making_, batch, gradient, norm, config_.train().max_loss());
    if (status.ok() && gradient.teaches) {
      norm = moved.Step(gradient.gradient, config_.optimizer(), record.learning_rate,
                        config_.algorithm().average_decay_cap());
      status = CheckUpdate(making_, batch, gradient, norm, config_.train().max_loss());
    }
    if (!status.ok()) {
      FLOWAWR_ASSIGN_OR_RETURN(record.refused, Refuse(batch, signals, gradient, status));
      return std::nullopt;
    }
    if (gradient.teaches) steps.push_back({gradient.loss, norm, std::move(gradient.figures)});
  }
  if (steps.empty()) return std::nullopt;
  const StageTimer timer = Time("step");
  moved.FollowBehaviour(config_.algorithm());
  record.trained = MeanOf(steps);
  return moved;
}

absl::StatusOr<std::string> RunLoop::Refuse(const std::vector<Group>& batch, const BatchSignals& signals,
                                            const BatchGradient& gradient, const absl::Status& why) {
  for (const size_t i : gradient.not_finite) {
    leases_.CountDrop("not_finite_gradient");
    spdlog::error("loss or gradient not finite: {}", DescribeMadeGroup(batch[i]));
  }
  const absl::StatusOr<std::string> path =
      WriteBadBatch(directory_.path(), making_, batch, signals, gradient, why);
  if (!path.ok()) spdlog::error("the batch of the refused update could not be kept: {}", path.status().ToString());
  const absl::Status told = Annotate(why, path.ok() ? absl::StrCat("its batch is in ", *path) : "its batch is lost");
  if (config_.train().on_bad_update() != v1::SKIP) return told;
  return std::string(told.message());
}

void RunLoop::Commit(const std::vector<Group>& batch, std::optional<PolicyRoles> moved) {
  const v1::RewardSpec& spec = batch.front().lease.reward_spec();
  const LeaseDesk::Consumed consumed = leases_.consumed();
  uint64_t samples = 0;
  for (const Group& group : batch) samples += group.lease.samples();
  absl::MutexLock lock(&mutex_);
  is_changed_ = true;
  manifest_.set_update(manifest_.update() + 1);
  manifest_.set_next_group(consumed.next_group);
  *manifest_.mutable_consumed_groups() = {consumed.above.begin(), consumed.above.end()};
  manifest_.set_groups_accepted(manifest_.groups_accepted() + batch.size());
  if (moved) {
    roles_ = *std::move(moved);
    manifest_.set_samples_trained(manifest_.samples_trained() + samples);
  } else {
    manifest_.set_updates_skipped(manifest_.updates_skipped() + 1);
  }
  v1::RewardSpec& newest = *manifest_.mutable_reward_spec();
  const bool is_earlier = spec.version() == newest.version() && newest.from_update() > manifest_.update();
  const bool is_later = spec.version() < newest.version() && newest.from_update() <= manifest_.update();
  if (is_earlier || is_later) {  // groups were moved to it, or stale ones of the rewards before were made again
    newest.set_from_update(manifest_.update() + (is_later ? 1 : 0));
    board_.Update([&](v1::Status& status) { *status.mutable_reward_spec() = newest; });
  }
}

absl::Status RunLoop::Record(UpdateResult record) {
  record.elapsed_s = figures_.elapsed_s();
  record.updates_total = config_.train().updates();
  record.groups_accepted = groups_before_ + leases_.groups_accepted();
  record.behaviour_version = recent_versions_.back();
  record.seconds = figures_.TakeStageSeconds();
  record.actor_seconds = actor_seconds_.Take(leases_.actor_seconds());
  {
    absl::MutexLock lock(&mutex_);
    record.update = manifest_.update();
    record.samples_trained = manifest_.samples_trained();
    record.updates_skipped = manifest_.updates_skipped();
    manifest_.set_elapsed_s(record.elapsed_s);
  }
  board_.Update([&](v1::Status& status) { ShowUpdate(record, status); });
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  const UpdateResult::Trained trained = record.trained.value_or(UpdateResult::Trained{nothing, nothing, {}});
  const auto kl = trained.figures.find("kl");
  const LogFields fields({{"version", record.behaviour_version},
                          {"reward", record.rewards.mean.value_or(nothing)},
                          {"loss", trained.loss},
                          {"kl", kl == trained.figures.end() ? nothing : kl->second},
                          {"grad_norm", trained.grad_norm}});
  spdlog::info("{}", UpdateSentence(record));
  return record_.Write(UpdateLine(record).dump(), record.update, UpdateScalars(record));
}

}  // namespace flowawr
