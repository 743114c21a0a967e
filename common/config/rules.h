// The rules between fields.
#pragma once

#include <string>
#include <vector>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct RuleViolation {
  std::string path;     // the field to change, e.g. "train.timesteps_per_sample"
  std::string problem;  // what is wrong and what to do
};

// Fields that must not be empty and are; then, when none is, what does not go together. Empty: all is well. Pure.
std::vector<RuleViolation> FindRuleViolations(const v1::RunConfig& config);

// Whether the steps of flow_grpo that draw noise fit into the sampler's.
std::vector<RuleViolation> FindNoisyStepViolations(const v1::RunConfig& config);

// The rules of the section `network` alone.
std::vector<RuleViolation> FindNetworkViolations(const v1::NetworkConfig& network);

}  // namespace flowawr
