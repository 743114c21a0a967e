// A learner put together: configuration, model, checkpoint, leases, policies, status, run loop, services.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "learner/options.h"

namespace flowawr {

// With options.rank above 0: one of its further processes, see docs/ranks.md and learner/ranks/serve_rank.h. Otherwise:
// runs until the training is finished or `wait_for_stop` returns true; it is called again and again, waits a little
// each time and tells whether the process was asked to stop. Everything is saved when it returns.
//
// FailedPrecondition: the run directory is in use, or the configuration does not fit the checkpoint; AlreadyExists: the
// directory holds a run and --resume was not given, or a port is taken; InvalidArgument: the configuration.
absl::Status RunLearner(const LearnerOptions& options, const std::function<bool()>& wait_for_stop);

}  // namespace flowawr
