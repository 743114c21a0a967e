#include "learner/resume_check.h"

#include <google/protobuf/util/message_differencer.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/last_name.h"
#include "common/config/algorithm_options.h"
#include "common/config/paths.h"

namespace flowawr {
namespace {

v1::RunConfig WithoutWhatMayDiffer(v1::RunConfig config) {
  BringUpToDate(&config);
  config.clear_name();
  config.clear_prompts();  // what they hold is compared: see prompt_sets.h
  config.clear_run_dir();
  config.clear_local();
  config.clear_network();
  MakePathsAbsolute(&config);  // one file, however it is written
  config.clear_checkpoint();
  config.clear_evaluation();
  config.clear_telemetry();
  config.mutable_model()->clear_path();
  config.mutable_lora()->clear_init_from();
  config.mutable_model()->clear_embeds_cache();
  config.mutable_train()->clear_updates();
  config.mutable_train()->clear_target_reward();
  config.mutable_train()->clear_threads();
  config.mutable_train()->clear_on_bad_update();
  config.mutable_train()->clear_max_loss();
  if (config.algorithm().behaviour() != v1::FIXED) config.mutable_algorithm()->clear_behaviour_decay();
  config.mutable_train()->clear_checkpointed_blocks();
  config.mutable_rollout()->clear_lease_timeout_s();
  config.mutable_rollout()->clear_max_attempts();
  // What scores may lie elsewhere by now, if it is still called the same.
  ForEachScorerPath(*config.mutable_rewards(), [](const std::string&, std::string& path) { path = LastName(path); });
  for (v1::RewardTerm& term : *config.mutable_rewards()->mutable_terms()) {
    term.clear_endpoint();
    term.clear_timeout_s();
  }
  return config;
}

}  // namespace

absl::Status CheckResumable(const v1::RunConfig& saved, const v1::RunConfig& now) {
  std::string differences;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(WithoutWhatMayDiffer(saved), WithoutWhatMayDiffer(now))) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the configuration would change the run, so it cannot be resumed with it (saved -> given):\n",
                   differences, "give the saved values, or start a new run in another --run-dir"));
}

absl::Status CheckUpdatesAhead(uint64_t done, const v1::RunConfig& now) {
  const auto wanted = static_cast<uint64_t>(now.train().updates());
  if (done <= wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("train.updates: ", wanted, ", but ", done,
                                                 " updates are done and a run does not go back; give ", done,
                                                 " to end it here, or more to go on"));
}

std::string WarningOfOtherInstructions(absl::string_view saved, absl::string_view now) {
  if (saved.empty() || saved == now) return "";
  return absl::StrCat("this run was made with the instruction set ", saved, " and goes on with ", now,
                      ": last bits will differ from a run on one of them alone. Where both can run ", saved,
                      ", FLOWAWR_CPU=", saved, " keeps to it");
}

}  // namespace flowawr
