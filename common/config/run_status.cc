#include "common/config/run_status.h"

#include "absl/strings/str_cat.h"
#include "common/config/algorithm_options.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

v1::Status StatusOfManifest(const v1::CheckpointManifest& manifest, const v1::RunConfig& config) {
  v1::Status status;
  status.set_run_id(manifest.run_id());
  status.set_name(config.name());
  status.set_run_dir(config.run_dir());
  status.set_update(manifest.update());
  status.set_updates_total(static_cast<uint64_t>(config.train().updates()));
  status.set_policy_version(manifest.behaviour_version());
  status.set_groups_accepted(manifest.groups_accepted());
  status.set_samples_accepted(manifest.groups_accepted() *
                              static_cast<uint64_t>(config.rollout().samples_per_group()));
  status.set_samples_trained(manifest.samples_trained());
  status.set_updates_skipped(manifest.updates_skipped());
  status.set_elapsed_s(manifest.elapsed_s());
  status.set_algorithm(AlgorithmName(config.algorithm()));
  status.set_behaviour(config.algorithm().behaviour());
  *status.mutable_dropped() = manifest.dropped();
  if (manifest.has_base()) *status.mutable_base() = manifest.base();
  if (manifest.has_latest()) *status.mutable_latest() = manifest.latest();
  *status.mutable_reward_spec() = manifest.reward_spec();
  return status;
}

bool ReachesTarget(const v1::RunConfig& config, const v1::EvaluationSummary& evaluation) {
  const double target = config.train().target_reward();
  return target != 0 && evaluation.has_reward_mean() && evaluation.reward_mean() >= target;
}

bool IsFinished(const v1::CheckpointManifest& manifest) {
  if (manifest.has_is_finished()) return manifest.is_finished();
  const v1::RunConfig& config = manifest.config();
  const v1::EvaluationSummary& latest = manifest.latest();
  const bool is_evaluated = manifest.has_latest() && latest.update() == manifest.update();
  if (is_evaluated && ReachesTarget(config, latest)) return true;
  const bool is_last = manifest.update() >= static_cast<uint64_t>(config.train().updates());
  return is_last && (is_evaluated || config.prompts().heldout().empty());
}

std::string EndMessage(const v1::CheckpointManifest& manifest) {
  return manifest.end_reason().empty() ? "" : absl::StrCat("ended early: ", manifest.end_reason());
}

}  // namespace flowawr
