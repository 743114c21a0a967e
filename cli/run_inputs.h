// Whether what a configuration names is there, before anything starts.
#pragma once

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The model's folder and the prompt files: NotFound or what is wrong with them, with the field's name and what to do.
absl::Status CheckRunInputs(const v1::RunConfig& config);

// The model's folder alone.
absl::Status CheckModelInput(const v1::RunConfig& config);

}  // namespace flowawr
