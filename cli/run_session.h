// One `flowawr run` from the first process to the last.
#pragma once

#include "absl/status/status.h"
#include "cli/run_plan.h"
#include "common/base/shutdown_signal.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

struct RunOutcome {
  absl::Status status;  // Cancelled: the user stopped the run, and it was saved
  v1::Status last;      // what the learner told last; empty when it never got that far
};

// Starts the reward server, the learner and the actors, shows progress on stdout until the run ends, and stops them
// all. The first signal makes the learner save and end, the second kills everything. Returns when no process is left.
RunOutcome RunProcesses(const RunPlan& plan, const FolderLock& lock, ShutdownSignal& signal);

}  // namespace flowawr
