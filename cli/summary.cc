#include "cli/summary.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/sha256.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;

Json OrNull(const std::optional<double>& value) { return value.has_value() ? Json(*value) : Json(); }

Json Evaluation(const EvaluationRecord* record) {
  if (record == nullptr) return Json();
  return {{"update", record->update},
          {"reward_mean", OrNull(record->reward_mean)},
          {"reward_stderr", OrNull(record->reward_stderr)},
          {"exact_share", OrNull(record->exact_share)},
          {"reward_spec", record->rewards_version == 0 ? Json() : Json(record->rewards_version)},
          {"images", record->images},
          {"elapsed_s", OrNull(record->elapsed_s)},
          {"by_scorer", record->by_scorer}};
}

Json Swaps(const RunHistory& history) {
  Json swaps = Json::array();
  for (const RewardSwap& swap : history.swaps)
    swaps.push_back({{"after_update", swap.update}, {"from", swap.from}, {"to", swap.to}});
  return swaps;
}

Json Shadows(const RunHistory& history) {
  Json shadows = Json::object();
  for (const auto& [scorer, shadow] : history.shadows)
    shadows[scorer] = {{"groups", shadow.groups},
                       {"rank_correlation", OrNull(shadow.rank_correlation)},
                       {"best_differs", OrNull(shadow.best_differs)}};
  return shadows;
}

Json FileDigest(const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  return bytes.ok() ? Json(HexSha256(*bytes)) : Json();
}

}  // namespace

Json Summarise(const RunHistory& history, const std::string& run_dir) {
  const UpdateRecord* last = history.updates.empty() ? nullptr : &history.updates.back();
  return {
      {"run_id", history.run_id.empty() ? Json() : Json(history.run_id)},
      {"heldout",
       {{"base", Evaluation(history.base_evaluation())},
        {"latest", Evaluation(history.latest_evaluation())},
        {"final", Evaluation(history.final_evaluation())}}},
      {"end_reason", history.end.reason.empty() ? Json() : Json(history.end.reason)},
      {"end_warnings", history.end.warnings},
      {"reward_swaps", Swaps(history)},
      {"shadows", Shadows(history)},
      {"updates", last == nullptr ? 0 : last->update},
      {"updates_skipped", history.updates_skipped},
      {"images_trained", last == nullptr ? 0 : last->samples_trained},
      {"training_s", last == nullptr ? Json() : OrNull(last->elapsed_s)},
      {"seconds_by_stage", {{"learner", history.learner_seconds}, {"actor", history.actor_seconds}}},
      {"adapter_sha256",
       {{"peft", FileDigest(run_dir + "/export/peft/adapter_model.safetensors")},
        {"diffusers", FileDigest(run_dir + "/export/pytorch_lora_weights.safetensors")}}},
      {"notes", history.notes}};
}

}  // namespace flowawr
