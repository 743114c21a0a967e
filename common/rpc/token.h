// The shared token of a deployment.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

// The token in `token_file`, blanks around it removed. InvalidArgument when it is shorter than 16 characters or holds
// anything but visible ASCII; never shows it.
absl::StatusOr<std::string> ReadToken(const std::string& token_file);

}  // namespace flowawr
