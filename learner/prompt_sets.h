// The prompt sets of a run: read, compared with what the run began with, and checked against its rewards.
#pragma once

#include "absl/status/statusor.h"
#include "common/config/prompts.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct PromptSets {
  PromptSet train, heldout;  // without what is left out
};

struct PromptSetOptions {
  std::string default_reward_endpoint;  // of terms that name none
  bool accepts_changes = false;
};

// A run that begins: every prompt is checked against every reward of `manifest` whose server answers. Bad ones are
// InvalidArgument, with file and line, or left out where prompts.skip_bad says so. What was read is noted in `manifest`.
//
// A run that goes on: the files must hold what they held, FailedPrecondition otherwise, with the prompts that changed.
// What was left out then is left out again. With `accepts_changes`, a changed set is taken as if the run began with it.
absl::StatusOr<PromptSets> ReadPromptSets(const v1::RunConfig& config, const PromptSetOptions& options,
                                          v1::CheckpointManifest* manifest);

// For rewards that a run is to go on with: InvalidArgument that lists, with file and line, the prompts that a required
// term of `spec` can never score. Its terms name their servers; one that does not answer is logged and checks nothing.
absl::Status CheckScorable(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const PromptSet& train,
                           const PromptSet& heldout);

}  // namespace flowawr
