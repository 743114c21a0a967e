// What others ask of a run that goes on: checkpoints, exports, other rewards, pauses.
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/config/model_card.h"
#include "common/scoring/reward_spec_check.h"
#include "common/scoring/scorer_probe.h"
#include "common/telemetry/metrics_line.h"
#include "learner/default_endpoint.h"
#include "learner/prompt_sets.h"
#include "learner/run_loop.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

// A line of metrics.jsonl, so that whoever compares rewards sees where they stop being the same.
nlohmann::json SwapJson(const v1::RewardSpec& spec, uint64_t update) {
  nlohmann::json terms = nlohmann::json::array();
  for (const v1::RewardSpecTerm& term : spec.terms())
    terms.push_back({{key::kScorer, term.scorer()},
                     {key::kEndpoint, term.endpoint()},
                     {key::kWeight, term.weight()},
                     {key::kIsRequired, term.is_required()},
                     {key::kTimeout, term.timeout_s()},
                     {key::kMaxDrop, term.max_drop()}});
  return {{key::kKind, key::kKindRewardSpec},
          {key::kUpdate, update},
          {key::kRewardSpec, spec.version()},
          {key::kTerms, terms}};
}

}  // namespace

absl::StatusOr<std::string> RunLoop::CheckpointLocked() {
  manifest_.set_elapsed_s(figures_.elapsed_s());
  *manifest_.mutable_config() = config_;
  if (model_ != nullptr) RecordModel(model_->parts(), &manifest_);
  std::map<std::string, uint64_t> dropped = dropped_before_;
  for (const auto& [cause, groups] : leases_.dropped()) dropped[cause] += groups;
  *manifest_.mutable_dropped() = {dropped.begin(), dropped.end()};
  CheckpointExtras extras;
  if (!shadows_.figures().empty()) extras.notes[kShadowsNote] = shadows_.ToJson();
  if (manifest_.has_latest()) extras.notes[kWatchNote] = watch_.ToJson();
  if (!device_.empty()) extras.notes[kDeviceNote] = device_;
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
  board_.Update([&](v1::Status& changed) {
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
  for (const v1::RewardSpecTerm& term : terms)
    if (term.max_drop() > 0 && heldout_prompts_.empty())
      return absl::InvalidArgumentError(absl::StrCat("reward ", term.scorer(), ": a max_drop is of held-out rewards, and "
                                                     "this run has no prompts.heldout; leave it out"));
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
  watch_.Keep(spec);
  spec.set_from_update(leases_.SetRewardSpec(spec));
  spdlog::info("rewards swapped after update {}, from update {} on: {}", manifest_.update(), spec.from_update(),
               SwapJson(spec, manifest_.update()).dump());
  return spec;
}

void RunLoop::SetPaused(bool is_paused) {
  spdlog::info("{} on request", is_paused ? "paused" : "resumed");
  if (is_paused) {
    leases_.Pause("paused; groups under way are finished and kept");
  } else {
    leases_.Resume();
  }
}

}  // namespace flowawr
