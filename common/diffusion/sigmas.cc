#include "common/diffusion/sigmas.h"

namespace flowawr {

std::vector<float> FlowMatchSigmas(int steps, double shift, int num_train_timesteps) {
  // The range: single precision, as the scheduler's constructor computes it.
  const float shift_f = static_cast<float>(shift), shift_less_one = static_cast<float>(shift - 1);
  const float smallest = 1.0f / static_cast<float>(num_train_timesteps);
  const double sigma_min = shift_f * smallest / (1.0f + shift_less_one * smallest);
  const double last = sigma_min * num_train_timesteps, first = num_train_timesteps;
  const double spacing = steps > 1 ? (last - first) / (steps - 1) : 0;
  std::vector<float> sigmas;
  for (int i = 0; i < steps; ++i) {
    const double timestep = i > 0 && i == steps - 1 ? last : first + i * spacing;
    const double sigma = timestep / num_train_timesteps;
    sigmas.push_back(static_cast<float>(shift * sigma / (1 + (shift - 1) * sigma)));
  }
  sigmas.push_back(0.0f);
  return sigmas;
}

}  // namespace flowawr
