// Libraries that FLOWAWR_CUDA builds and no program is linked to: looked for beside it when they are wanted.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

// The handle of `name` as of dlopen(); it stays loaded. NotFound, with what it needs, when it cannot be opened.
// Thread-safe.
absl::StatusOr<void*> OpenOptionalLibrary(const std::string& name);

}  // namespace flowawr
