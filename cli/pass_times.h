// How long passes through a model of given sizes take on this machine: measured in seconds, not read from its files, so
// the model need not be there.
#pragma once

#include "absl/status/statusor.h"
#include "cli/memory_plan.h"
#include "cli/thread_budget.h"
#include "cli/time_plan.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Makes models of the sizes in `model` but of two and three blocks, times them in the run's dtype with as many actors
// and threads side by side as `budget` has, and infers the rest: blocks of one kind take equally long. Large pictures
// are decoded in part. Takes some seconds and the memory of such models. InvalidArgument for a size that the model
// cannot do; Internal, with LibTorch's message, when a pass fails.
absl::StatusOr<PassTimes> MeasurePassTimes(const v1::RunConfig& config, const ModelSizes& model,
                                           const ThreadBudget& budget);

}  // namespace flowawr
