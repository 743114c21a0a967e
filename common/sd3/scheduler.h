// The scheduler of a diffusers pipeline: what fixes the sigmas of a sampling run.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

struct SchedulerConfig {
  double shift = 1;
  int num_train_timesteps = 1000;

  // Reads scheduler_config.json of `folder` (a pipeline's .../scheduler), which must be a
  // FlowMatchEulerDiscreteScheduler with a static shift and nothing else switched on; a field that is not known here is
  // refused.
  static absl::StatusOr<SchedulerConfig> Load(const std::string& folder);
};

}  // namespace flowawr
