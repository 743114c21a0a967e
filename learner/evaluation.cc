#include "learner/evaluation.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/version.h"
#include "common/scoring/reward_terms.h"
#include "common/sd3/compute_dtype.h"
#include "common/tensor/placement.h"
#include "learner/reward_figures.h"

namespace flowawr {
namespace {

// What the first scorer that is no shadow told for people.
std::map<std::string, std::string> DetailsOf(const Group& group, int sample) {
  const int first = FirstTrainedTerm(group.lease.reward_spec());
  if (sample >= group.header.samples_size() || group.header.samples(sample).terms_size() <= first) return {};
  const auto& details = group.header.samples(sample).terms(first).details();
  return {details.begin(), details.end()};
}

}  // namespace

std::vector<v1::Lease> EvaluationLeases(const v1::RunConfig& config, const PromptSet& heldout, int count,
                                        int pictures, uint64_t policy_version, const v1::RewardSpec& reward_spec) {
  const size_t prompts = count == 0 ? heldout.size() : std::min<size_t>(count, heldout.size());
  std::vector<v1::Lease> leases(prompts);
  for (size_t i = 0; i < prompts; ++i) {
    v1::Lease& lease = leases[i];
    lease.set_group_id(kEvaluationGroupBit | i);
    lease.set_purpose(v1::EVALUATION);
    *lease.mutable_prompt() = heldout[i];
    lease.set_samples(config.evaluation().samples_per_prompt());
    lease.set_noise_seed(config.seed());
    lease.set_policy_version(policy_version);
    *lease.mutable_reward_spec() = reward_spec;
    lease.mutable_sampler()->set_solver(config.evaluation().solver());
    lease.mutable_sampler()->set_steps(config.evaluation().steps());
    lease.mutable_sampler()->set_guidance_scale(config.sampler().guidance_scale());  // what is trained is a guided policy
    lease.set_wants_images(static_cast<int>(i) < pictures);
  }
  return leases;
}

v1::EvaluationSummary Summarise(const std::vector<Group>& groups, uint64_t update) {
  const RewardFigures figures = MeasureRewards(groups);
  v1::EvaluationSummary summary;
  summary.set_update(update);
  summary.set_images(static_cast<uint32_t>(figures.images));
  if (figures.mean) summary.set_reward_mean(*figures.mean);
  if (figures.standard_error) summary.set_reward_stderr(*figures.standard_error);
  if (figures.exact_share) summary.set_exact_share(*figures.exact_share);
  summary.mutable_by_scorer()->insert(figures.by_scorer.begin(), figures.by_scorer.end());
  for (const auto& [scorer, missing] : figures.missing) (*summary.mutable_missing())[scorer] = missing.images;
  return summary;
}

std::string PictureJson(const Group& group, int sample, uint64_t update) {
  nlohmann::json details = nlohmann::json::object();
  for (const auto& [key, value] : DetailsOf(group, sample)) details[key] = value;
  const double reward = WeightedReward(group, sample);
  const nlohmann::json json = {{"update", update},
                               {"prompt", group.lease.prompt().text()},
                               {"reward", std::isfinite(reward) ? nlohmann::json(reward) : nlohmann::json()},
                               {"details", details}};
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::map<std::string, std::string> PictureText(const v1::RunConfig& config, const Group& group, int sample,
                                               uint64_t update) {
  const v1::Lease& lease = group.lease;
  std::map<std::string, std::string> text = {
      {"Software", absl::StrCat("flowawr ", Version())},
      {"prompt", lease.prompt().text()},
      {"prompt index", absl::StrCat(lease.prompt().index())},
      {"seed", absl::StrCat(lease.noise_seed())},
      {"noise group", absl::StrCat(lease.group_id())},
      {"sample", absl::StrCat(sample)},
      {"model", config.model().path()},
      {"adapter", update == 0 ? "none" : absl::StrCat("the average policy of run ", config.name())},
      {"update", absl::StrCat(update)},
      {"policy version", absl::StrCat(lease.policy_version())},
      {"solver", absl::AsciiStrToLower(v1::Solver_Name(lease.sampler().solver()))},
      {"steps", absl::StrCat(lease.sampler().steps())},
      {"guidance", "1"},
      {"height", absl::StrCat(config.model().height())},
      {"width", absl::StrCat(config.model().width())},
      {"dtype", NameOf(ScalarTypeOf(config.model().dtype()))},
      {"max sequence length", absl::StrCat(config.model().max_sequence_length())}};
  const double reward = WeightedReward(group, sample);
  text["reward"] = std::isfinite(reward) ? absl::StrCat(reward) : "missing";
  const std::map<std::string, std::string> details = DetailsOf(group, sample);
  if (const auto read = details.find("text"); read != details.end()) text["text read"] = read->second;
  return text;
}

}  // namespace flowawr
