// How a process that listens on any free port tells where: a file with one line, host:port.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

// Appears whole or not at all.
absl::Status WriteEndpointFile(const std::string& path, const std::string& endpoint);

// NotFound while the file is not there; InvalidArgument when it holds no address.
absl::StatusOr<std::string> ReadEndpointFile(const std::string& path);

}  // namespace flowawr
