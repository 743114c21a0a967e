// Which weights a model was read from, for records of what scored or sampled.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

// Of the files that OpenCheckpoint(folder, stem) reads, in hexadecimal: the SHA-256 of the one file, as `sha256sum`
// prints it; of shards, that of the lines "SHA256  NAME\n" in the order of their names: `sha256sum SHARDS | sha256sum`.
// Reads them whole, a few megabytes at a time.
absl::StatusOr<std::string> WeightsSha256(const std::string& folder, const std::string& stem);

}  // namespace flowawr
