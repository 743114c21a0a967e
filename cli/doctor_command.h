// `flowawr doctor` and `flowawr run --dry-run`: what to mend before hours are spent.
#pragma once

#include "absl/status/status.h"
#include "cli/run_plan.h"

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddDoctorCommand(CLI::App& app, int* exit_code);

// Prints what is well and what is not about a run that would begin as `request` says. FailedPrecondition when it would
// not begin, or fail.
absl::Status ExamineRun(const RunRequest& request);

}  // namespace flowawr
