// At how many of the rollout's noise levels training goes on, of methods that choose them.
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

}  // namespace flowawr
