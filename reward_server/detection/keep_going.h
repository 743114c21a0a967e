// How a model that takes seconds is told that nobody waits any more.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace flowawr {

// Asked between the layers of a model: anything but OK ends the work and is returned.
using KeepGoing = absl::FunctionRef<absl::Status()>;

}  // namespace flowawr
