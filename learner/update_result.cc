#include "learner/update_result.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/telemetry/metrics_line.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

nlohmann::json OrNull(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

std::optional<double> Find(const std::map<std::string, double>& figures, const std::string& name) {
  const auto found = figures.find(name);
  return found == figures.end() ? std::nullopt : std::optional(found->second);
}

nlohmann::json MissingJson(const RewardFigures& figures) {
  nlohmann::json missing = nlohmann::json::object();
  for (const auto& [scorer, of] : figures.missing) missing[scorer] = of.images;
  return missing;
}

nlohmann::json ShadowsJson(const std::vector<v1::ShadowReward>& shadows) {
  nlohmann::json json = nlohmann::json::object();
  for (const v1::ShadowReward& shadow : shadows) {
    json[shadow.scorer()] = {{key::kGroups, shadow.groups()}};
    if (shadow.groups() == 0) continue;
    json[shadow.scorer()][key::kRankCorrelation] = shadow.rank_correlation();
    json[shadow.scorer()][key::kBestDiffers] = shadow.best_differs();
  }
  return json;
}

// Of the batch, beside what the algorithm reports.
std::map<std::string, double> BatchFigureMap(const UpdateResult& record) {
  std::map<std::string, double> figures = {{"diversity", record.batch.diversity},
                                           {"effective_samples", record.batch.effective_samples},
                                           {"oldest_version", static_cast<double>(record.batch.oldest_version)}};
  if (record.log_prob_drift) {
    figures["log_prob_drift_mean"] = record.log_prob_drift->mean;
    figures["log_prob_drift_greatest"] = record.log_prob_drift->greatest;
  }
  return figures;
}

}  // namespace

void ShowUpdate(const UpdateResult& record, v1::Status& status) {
  status.set_update(record.update);
  status.set_samples_trained(record.samples_trained);
  status.set_updates_skipped(record.updates_skipped);
  if (record.rewards.mean)
    status.set_reward_mean(*record.rewards.mean);
  else
    status.clear_reward_mean();
  ShowBatch(record.batch, record.rewards, status);
  status.set_update_age_s(0);
  if (record.trained) {
    status.set_loss(record.trained->loss);
    status.set_grad_norm(record.trained->grad_norm);
    if (const auto kl = Find(record.trained->figures, "kl"))
      status.set_kl(*kl);
    else
      status.clear_kl();
    *status.mutable_figures() = {record.trained->figures.begin(), record.trained->figures.end()};
  }
  for (const auto& [name, value] : BatchFigureMap(record)) (*status.mutable_figures())[name] = value;
  status.mutable_shadows()->Assign(record.shadows.begin(), record.shadows.end());
  status.set_elapsed_s(record.elapsed_s);
  const double done = static_cast<double>(record.update), total = static_cast<double>(record.updates_total);
  status.set_remaining_s(record.elapsed_s / done * (total - done));
  status.set_groups_per_s(static_cast<double>(record.groups_accepted) / record.elapsed_s);
}

nlohmann::json UpdateLine(const UpdateResult& record) {
  const bool is_trained = record.trained.has_value();
  nlohmann::json line = {{key::kKind, key::kKindUpdate},
                         {key::kUpdate, record.update},
                         {key::kRewardMean, OrNull(record.rewards.mean)},
                         {key::kByScorer, record.rewards.by_scorer},
                         {key::kMissing, MissingJson(record.rewards)},
                         {key::kRewardSpec, record.spec_version},
                         {key::kShadows, ShadowsJson(record.shadows)},
                         {key::kLoss, is_trained ? nlohmann::json(record.trained->loss) : nlohmann::json()},
                         {key::kKl, is_trained ? OrNull(Find(record.trained->figures, "kl")) : nlohmann::json()},
                         {key::kGradNorm, is_trained ? nlohmann::json(record.trained->grad_norm) : nlohmann::json()},
                         {key::kLearningRate, record.learning_rate},
                         {key::kElapsed, record.elapsed_s},
                         {key::kSamplesTrained, record.samples_trained},
                         {key::kSkipped, !is_trained},
                         {key::kSeconds, record.seconds},
                         {key::kActorSeconds, record.actor_seconds}};
  line[key::kFigures] = BatchFigureMap(record);
  if (is_trained) line[key::kFigures].update(nlohmann::json(record.trained->figures));
  line[key::kSignal] = record.batch.signal;
  if (!record.batch.signal_histogram.empty()) line[key::kSignalHistogram] = record.batch.signal_histogram;
  line[key::kEqualGroupsShare] = record.batch.equal_groups_share;
  line[key::kStalenessMean] = record.batch.staleness_mean;
  if (!record.refused.empty()) line[key::kRefused] = record.refused;
  return line;
}

Scalars UpdateScalars(const UpdateResult& record) {
  Scalars scalars;
  if (record.rewards.mean) scalars.emplace_back("train/reward", *record.rewards.mean);
  for (const auto& [name, value] : BatchFigureMap(record)) scalars.emplace_back("train/" + name, value);
  for (const auto& [name, value] : record.batch.signal) scalars.emplace_back("signal/" + name, value);
  scalars.emplace_back("train/equal_groups_share", record.batch.equal_groups_share);
  scalars.emplace_back("train/staleness_mean", record.batch.staleness_mean);
  if (record.trained) {
    scalars.emplace_back("train/loss", record.trained->loss);
    for (const auto& [name, value] : record.trained->figures) scalars.emplace_back("train/" + name, value);
    scalars.emplace_back("train/learning_rate", record.learning_rate);
    scalars.emplace_back("train/grad_norm", record.trained->grad_norm);
  }
  for (const v1::ShadowReward& shadow : record.shadows) {
    if (shadow.groups() == 0) continue;
    scalars.emplace_back(absl::StrCat("shadow/", shadow.scorer(), "/rank_correlation"), shadow.rank_correlation());
    scalars.emplace_back(absl::StrCat("shadow/", shadow.scorer(), "/best_differs"), shadow.best_differs());
  }
  return scalars;
}

std::string UpdateSentence(const UpdateResult& record) {
  std::string text = absl::StrCat("update ", record.update, " of ", record.updates_total, ": reward ",
                                  record.rewards.mean ? absl::StrFormat("%.4f", *record.rewards.mean) : "missing");
  if (!record.refused.empty()) return absl::StrCat(text, ", refused: ", record.refused);
  if (!record.trained) return text + ", skipped: no group of the batch can move the policy";
  absl::StrAppendFormat(&text, ", loss %.4f", record.trained->loss);
  if (const auto kl = Find(record.trained->figures, "kl")) absl::StrAppendFormat(&text, ", kl %.5f", *kl);
  absl::StrAppendFormat(&text, ", gradient norm %.3f", record.trained->grad_norm);
  return text;
}

}  // namespace flowawr
