#include "learner/prompt_sets.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/scoring/prompt_check.h"
#include "learner/default_endpoint.h"

namespace flowawr {
namespace {

constexpr size_t kMostListed = 20;
constexpr size_t kMostLeftOut = 100'000;  // they are in every checkpoint

std::string List(const PromptCheck& check, const PromptSet& prompts) {
  std::string text = absl::StrCat(check.faults.size(), " of ", prompts.size(), " prompts can never be scored:");
  size_t listed = 0;
  for (const auto& [i, why] : check.faults) {
    if (listed++ == kMostListed) break;
    absl::StrAppend(&text, "\n  ", prompts.Where(i), ": ", why);
  }
  if (check.faults.size() > kMostListed) absl::StrAppend(&text, "\n  and ", check.faults.size() - kMostListed, " more");
  return text;
}

// Notes in `record` which prompts no reward can ever score.
absl::Status CheckRewards(const v1::RunConfig& config, const v1::RewardSpec& spec, const PromptSet& prompts,
                          v1::PromptSetRecord* record) {
  const PromptCheck check = CheckPrompts(spec, config.network(), prompts);
  for (const std::string& note : check.notes) spdlog::warn("{}", note);
  if (check.faults.empty()) return absl::OkStatus();
  const std::string faults = List(check, prompts);
  if (!config.prompts().skip_bad() || check.faults.size() == prompts.size() || check.faults.size() > kMostLeftOut)
    return absl::InvalidArgumentError(
        absl::StrCat(faults, check.faults.size() == prompts.size()
                                 ? "\nmend the file, or the rewards"
                                 : "\nmend them, or leave them out: --set prompts.skip_bad=true"));
  spdlog::warn("{}\nthey are left out", faults);
  for (const auto& [i, why] : check.faults) record->add_left_out(i);
  return absl::OkStatus();
}

absl::StatusOr<PromptSet> ReadPromptSet(const std::string& path, const char* field, const v1::RunConfig& config,
                                        const PromptSetOptions& options, const v1::RewardSpec& spec,
                                        v1::PromptSetRecord* record) {
  FLOWAWR_ASSIGN_OR_RETURN(PromptSet prompts, PromptSet::Load(path));
  if (!record->sha256().empty()) {
    const std::string change = DescribeChange(*record, prompts);
    if (change.empty()) return std::move(prompts).Without({record->left_out().begin(), record->left_out().end()});
    const std::string what = absl::StrCat(field, ": ", path, " was changed since the run began: ", change);
    if (!options.accepts_changes)
      return absl::FailedPreconditionError(
          absl::StrCat(what, "\n  restore the file, or go on with it as it is: --accept-changed-prompts"));
    spdlog::warn("{}\nit is accepted", what);
  }
  *record = prompts.Record();
  FLOWAWR_RETURN_IF_ERROR(Annotate(CheckRewards(config, spec, prompts, record), field));
  return std::move(prompts).Without({record->left_out().begin(), record->left_out().end()});
}

}  // namespace

absl::Status CheckScorable(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const PromptSet& train,
                           const PromptSet& heldout) {
  std::vector<std::string> complaints;
  for (const auto& [field, prompts] : {std::pair("prompts.train", &train), std::pair("prompts.heldout", &heldout)}) {
    const PromptCheck check = CheckPrompts(spec, network, *prompts);
    for (const std::string& note : check.notes) spdlog::warn("{}: {}", field, note);
    if (!check.faults.empty()) complaints.push_back(absl::StrCat(field, ": ", List(check, *prompts)));
  }
  if (complaints.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(complaints, "\n"));
}

absl::StatusOr<PromptSets> ReadPromptSets(const v1::RunConfig& config, const PromptSetOptions& options,
                                          v1::CheckpointManifest* manifest) {
  v1::RewardSpec spec = manifest->reward_spec();
  FillInEndpoints(options.default_reward_endpoint, &spec);
  PromptSets sets;
  FLOWAWR_ASSIGN_OR_RETURN(sets.train,
                           ReadPromptSet(config.prompts().train(), "prompts.train", config, options, spec,
                                         manifest->mutable_train_prompts()));
  if (config.prompts().heldout().empty()) {
    manifest->clear_heldout_prompts();
    return sets;
  }
  FLOWAWR_ASSIGN_OR_RETURN(sets.heldout,
                           ReadPromptSet(config.prompts().heldout(), "prompts.heldout", config, options, spec,
                                         manifest->mutable_heldout_prompts()));
  return sets;
}

}  // namespace flowawr
