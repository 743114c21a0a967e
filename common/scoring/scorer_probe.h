// Whether the scorers of a reward spec give rewards now, before a run depends on them.
#pragma once

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

struct ProbePicture {
  v1::Prompt prompt;  // one of the run's
  int height = 0, width = 0;
};

// A spec of the terms of `next` that `now` does not vouch for: of another scorer or server, or from now on required.
// Changing weights asks no server. Pure.
v1::RewardSpec TermsToProbe(const v1::RewardSpec& now, const v1::RewardSpec& next);

// Asks each server of each term for the reward of a plain picture, as an actor would; at most for the term's time-out.
// FailedPrecondition for a server that does not answer, or answers with BROKEN or OVERLOADED again and again; NotFound
// for a scorer that it has not loaded, with those that it has; InvalidArgument when a required one says BAD_INPUT, that it
// can never score it: others may lack rewards.
absl::Status ProbeScorers(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const ProbePicture& picture);

}  // namespace flowawr
