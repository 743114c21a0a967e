// How the learning rate falls, and how the behaviour and average policies follow the current one.
// Source of the latter: algorithms of FlowAWR and DiffusionNFT.
#pragma once

#include <cstdint>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Of the update after `done` of `total` updates. The same factors as transformers.get_scheduler gives for the same
// names.
double LearningRate(const v1::OptimizerConfig& config, uint64_t done, uint64_t total);

// d of: behaviour <- d behaviour + (1 - d) current, once a batch; `steps` optimiser steps are done.
// CURRENT: 0. RAMP: min(.001 steps, .5). LATE: 0 until step 75, then .0075 (steps - 75), at most .999. FIXED:
// behaviour_decay.
double BehaviourDecay(const v1::AlgorithmConfig& algorithm, uint64_t steps);

// Decay of the average after `n` optimiser steps before: min((1 + n) / (10 + n), cap).
double AverageDecay(uint64_t n, double cap);

}  // namespace flowawr
