// The noise levels of one sampling run.
#pragma once

#include <vector>

namespace flowawr {

// steps + 1 falling values; the first is 1, the last 0. What diffusers' FlowMatchEulerDiscreteScheduler gives after
// set_timesteps(steps) for a static `shift`: it shifts once to find its range and once more the values in between.
// Requires steps >= 1, shift > 0, num_train_timesteps >= 1.
std::vector<float> FlowMatchSigmas(int steps, double shift, int num_train_timesteps = 1000);

}  // namespace flowawr
