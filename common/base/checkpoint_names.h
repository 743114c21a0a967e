// The folders of a run's checkpoints, RUN_DIR/checkpoints/update-000010 and so on, by name: what the learner that
// writes them and the commands that read them must agree on. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

inline constexpr char kCheckpointPrefix[] = "update-";

// Whether `name` is update-NUMBER: not one that is being written, nor one that somebody put aside under another name.
bool IsCheckpointName(absl::string_view name);

// The folder of the checkpoint at that update.
std::string CheckpointName(uint64_t update);

// All names in `folder`, in no order; none when it is not there.
absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& folder);

// The checkpoints among them, newest first. The number has a fixed width at least, so longer is newer.
absl::StatusOr<std::vector<std::string>> CheckpointNames(const std::string& folder);

}  // namespace flowawr
