// Asks reward servers which prompts they can never score, before anything is drawn.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/config/prompts.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

struct PromptCheck {
  // By position in the set: the scorer, and why it can never score the prompt. Only of required terms: another term's
  // failure leaves a sample out of that reward's statistics, which may be what is meant.
  std::map<size_t, std::string> faults;
  // For people: servers that could not be asked or do not answer such questions, optional terms with faults.
  std::vector<std::string> notes;
};

// A few seconds for a server that does not answer at all; else as long as it takes, some 10,000 prompts a second.
PromptCheck CheckPrompts(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const PromptSet& prompts);

}  // namespace flowawr
