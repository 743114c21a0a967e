// Where a run's second place may be: checkpoint.copy_to. The one answer for the learner and for who examines a run before.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace flowawr {

// FailedPrecondition when the copies would lie in the run's own folder, as of a run that was resumed from its copies, or
// when `copy_to` holds checkpoints of another run. Neither folder need be there. Looks, and changes nothing.
absl::Status CheckCopyPlace(const std::string& run_dir, const std::string& copy_to);

}  // namespace flowawr
