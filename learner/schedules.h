// How the learning rate falls, and how the behaviour and average policies follow the current one.
// Source of the latter: algorithms of FlowAWR and DiffusionNFT.
#pragma once

#include <cstdint>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Of the update after `done` of `total` updates. The same factors as transformers.get_scheduler gives for the same
// names.
double LearningRate(const v1::OptimizerConfig& config, uint64_t done, uint64_t total);

// d of: behaviour <- d behaviour + (1 - d) current, once a batch; `step` is the number of optimiser steps done.
// CURRENT: 0. RAMP: min(.001 step, .5). LATE: 0 until step 75, then .0075 (step - 75), at most .999.
double BehaviourDecay(v1::BehaviourSchedule schedule, uint64_t step);

// Decay of the average after its `n`-th earlier update: min((1 + n) / (10 + n), cap).
double AverageDecay(uint64_t n, double cap);

}  // namespace flowawr
