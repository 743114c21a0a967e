// At which of the rollout's noise levels training goes on: the one answer for learner, plans and checks.
#pragma once

#include <algorithm>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The first so many of the rollout's sigmas, from the noisiest, may be drawn; 0 is no configuration to train with.
inline int TrainedSigmas(const v1::RunConfig& config) {
  return static_cast<int>(config.sampler().steps() * config.train().timestep_fraction());
}

// So many of them are, for each sample.
inline int SigmasPerSample(const v1::RunConfig& config) {
  return std::min(config.train().timesteps_per_sample(), std::max(1, TrainedSigmas(config)));
}

// Of flow_grpo: so many steps in a row draw noise and are trained on, all of them before step `end`. Whether they fit is
// for rules.h to say.
struct NoisySteps {
  int count = 0, end = 0;
};
inline NoisySteps NoisyStepsOf(const v1::RunConfig& config) {
  const v1::FlowGrpoConfig& method = config.algorithm().flow_grpo();
  const int steps = config.sampler().steps();
  if (method.window() == 0) return {steps - 1, steps - 1};  // all but the last, too narrow a distribution to learn from
  return {method.window(), method.window_end() > 0 ? method.window_end() : steps / 2};
}

// Rows of an update that one sample makes.
inline int RowsPerSample(const v1::RunConfig& config) {
  return config.algorithm().has_flow_grpo() ? NoisyStepsOf(config).count : SigmasPerSample(config);
}

}  // namespace flowawr
