// Held-out evaluation: which leases it takes and what its groups say. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/config/prompts.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/control.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/group.h"

namespace flowawr {

// One lease a prompt, for the first `count` prompts (0: all). The group ids, and so the noise, are the same at every
// evaluation; the first `pictures` want their images.
std::vector<v1::Lease> EvaluationLeases(const v1::RunConfig& config, const PromptSet& heldout, int count,
                                        int pictures, uint64_t policy_version, const v1::RewardSpec& reward_spec);

// The figures of learner/reward_figures.h: what nobody measured is absent from the summary.
v1::EvaluationSummary Summarise(const std::vector<Group>& groups, uint64_t update);

// What a picture's JSON file says: the update that it was drawn after, prompt, reward, and what the first scorer told,
// e.g. the text that the OCR read.
std::string PictureJson(const Group& group, int sample, uint64_t update);

// The same and how it was drawn, as the text chunks of the picture's PNG file: what `flowawr sample` writes, too.
std::map<std::string, std::string> PictureText(const v1::RunConfig& config, const Group& group, int sample,
                                               uint64_t update);

}  // namespace flowawr
