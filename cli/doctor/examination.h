// Looks at everything that a run needs, before it begins. Changes nothing that stays: what it starts, it ends.
#pragma once

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "cli/doctor/finding.h"
#include "cli/run_plan.h"

namespace flowawr {

struct ExaminationRequest {
  RunRequest run;              // an empty config: this machine alone
  bool measures_time = true;   // some seconds of all cores
  bool starts_scorers = true;  // those of the run's own reward server; else only servers that are there are asked
};

// Tells every finding as soon as it is made. `say` hears what is waited for, and "" when that is over. Ends early once
// `is_wanted` says no.
void Examine(const ExaminationRequest& request, absl::FunctionRef<bool()> is_wanted,
             absl::FunctionRef<void(const std::string&)> say, absl::FunctionRef<void(Finding)> tell);

}  // namespace flowawr
