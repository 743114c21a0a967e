// One update: from a batch of groups to a policy version.
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/telemetry/log.h"
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

}  // namespace

absl::Status RunLoop::Update(std::vector<Group> batch) {
  const LogFields fields({{"update", making_}});
  const v1::RewardSpec spec = batch.front().lease.reward_spec();
  if (trained_spec_ != 0 && spec.version() != trained_spec_)
    trace_.Mark(absl::StrCat("rewards of version ", spec.version(), " from update ", making_, " on"));
  trained_spec_ = spec.version();
  BatchSignals signals;
  {
    const StageTimer timer = Time("energy");
    signals = algorithm_->Signals(StackRewards(batch), Weights(spec));
  }
  UpdateRecord record;
  record.spec_version = spec.version();
  record.batch = MeasureBatch(batch, signals, recent_versions_);
  record.rewards = MeasureRewards(batch);
  BatchGradient gradient;
  {
    const StageTimer timer = Time("train");
    FLOWAWR_ASSIGN_OR_RETURN(gradient, ComputeGradient(batch, signals));
  }
  if (!gradient.not_finite.empty() || !std::isfinite(gradient.loss)) return NotFinite(batch, gradient);
  {
    const StageTimer timer = Time("step");
    record.learning_rate = LearningRate(config_.optimizer(), updates(), config_.train().updates());
    FLOWAWR_ASSIGN_OR_RETURN(const double norm,
                             Step(batch, gradient.teaches ? &gradient : nullptr, record.learning_rate));
    if (gradient.teaches) record.trained = UpdateRecord::Trained{gradient.loss, norm, gradient.figures};
  }
  if (gradient.teaches)
    FLOWAWR_RETURN_IF_ERROR(PublishBehaviour());
  else
    recent_versions_.push_back(recent_versions_.back());
  {
    absl::MutexLock lock(&mutex_);
    shadows_.Add(batch, config_.rewards().combination() == v1::DECOUPLED ? signals.values : signals.rewards);
    record.shadows = shadows_.figures();
  }
  Warn(MissingRewardWarnings(record.rewards, absl::StrCat("update ", updates())));
  return Record(std::move(record));
}

absl::StatusOr<BatchGradient> RunLoop::ComputeGradient(const std::vector<Group>& batch, const BatchSignals& signals) {
  const LoraAdapter current = Policy(&PolicyRoles::current);
  std::map<uint64_t, std::shared_ptr<const StoredPolicy>> sampled_by;
  for (const Group& group : batch)
    sampled_by.try_emplace(group.lease.policy_version(), policies_.Find(group.lease.policy_version()));
  const auto old_adapter = [&](uint64_t version) -> const LoraAdapter* {
    const LoraAdapter& adapter = sampled_by.at(version)->adapter;
    return at::equal(adapter.flat(), current.flat()) ? nullptr : &adapter;
  };
  return engine_->Compute({.update = making_,
                           .batch = batch,
                           .signals = signals.values,
                           .is_all_equal = signals.is_all_equal,
                           .current = current,
                           .old_adapter = old_adapter,
                           .is_cancelled = hold_.stopping()});
}

absl::StatusOr<double> RunLoop::Step(const std::vector<Group>& batch, BatchGradient* gradient, double learning_rate) {
  const v1::RewardSpec& spec = batch.front().lease.reward_spec();
  const LeaseDesk::Consumed consumed = leases_.consumed();
  uint64_t samples = 0;
  for (const Group& group : batch) samples += group.lease.samples();
  absl::MutexLock lock(&mutex_);
  double norm = 0;
  if (gradient != nullptr)
    norm = roles_.Apply(gradient->gradient, config_.optimizer(), learning_rate, config_.algorithm());
  if (!std::isfinite(norm))
    return absl::InternalError(absl::StrCat("the gradients of update ", manifest_.update() + 1,
                                            " are finite, their sum is not: every group is as far off"));
  is_changed_ = true;
  manifest_.set_update(manifest_.update() + 1);
  manifest_.set_next_group(consumed.next_group);
  *manifest_.mutable_consumed_groups() = {consumed.above.begin(), consumed.above.end()};
  manifest_.set_groups_accepted(manifest_.groups_accepted() + batch.size());
  if (gradient != nullptr)
    manifest_.set_samples_trained(manifest_.samples_trained() + samples);
  else
    manifest_.set_updates_skipped(manifest_.updates_skipped() + 1);
  v1::RewardSpec& newest = *manifest_.mutable_reward_spec();
  const bool is_earlier = spec.version() == newest.version() && newest.from_update() > manifest_.update();
  const bool is_later = spec.version() < newest.version() && newest.from_update() <= manifest_.update();
  if (is_earlier || is_later) {  // groups were moved to it, or stale ones of the rewards before were made again
    newest.set_from_update(manifest_.update() + (is_later ? 1 : 0));
    board_.Update([&](v1::Status& status) { *status.mutable_reward_spec() = newest; });
  }
  return norm;
}

absl::Status RunLoop::NotFinite(const std::vector<Group>& batch, const BatchGradient& gradient) {
  for (const size_t i : gradient.not_finite) {
    leases_.CountDrop("not_finite_gradient");
    spdlog::error("loss or gradient not finite: {}", DescribeMadeGroup(batch[i]));
  }
  return NotFiniteError(making_, batch, gradient.not_finite);
}

absl::Status RunLoop::Record(UpdateRecord record) {
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
  const UpdateRecord::Trained trained = record.trained.value_or(UpdateRecord::Trained{nothing, nothing, {}});
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
