// How work that takes seconds is told that nobody waits for it any more.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace flowawr {

// Asked several times a second, between the layers of a model or while another process is waited for: anything but OK
// ends the work and is returned.
using KeepGoing = absl::FunctionRef<absl::Status()>;
inline constexpr auto kToTheEnd = [] { return absl::OkStatus(); };

}  // namespace flowawr
