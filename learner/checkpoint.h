// Everything a run needs to go on, on disk: written whole or not at all, and checked before it is believed.
//
//   RUN_DIR/checkpoints/update-000010/   current.safetensors behaviour.safetensors average.safetensors
//                                        optimizer.safetensors checkpoint.json
//                                        SHA256SUMS (digests of the other five, as `sha256sum --check` reads them)
//   RUN_DIR/checkpoints/latest           the newest folder's name, for people; loading does not rely on it
//
// A checkpoint is built in a temporary folder, fsynced and renamed, so a kill at any instant leaves the older ones
// intact. One that is saved again is moved aside to update-000010.old meanwhile. Not thread-safe: one run loop writes,
// under the lock of the run directory.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "learner/policy_roles.h"

namespace flowawr {

// Returns the checkpoint's folder. Of the older ones the newest `keep` - 1 stay.
// ResourceExhausted when the disk is full; what was there before is then untouched.
absl::StatusOr<std::string> SaveCheckpoint(const std::string& run_dir, v1::CheckpointManifest manifest,
                                           const PolicyRoles& roles, int keep);

// Removes what a killed save left, and puts back the checkpoint that it had moved aside if nothing stands in its place.
// For a run directory that this process holds.
absl::Status TidyCheckpoints(const std::string& run_dir);

struct FoundCheckpoint {
  std::string folder;
  v1::CheckpointManifest manifest;
};

// The newest checkpoint; nullopt when there is none. DataLoss when any byte of it was changed or is missing, or when it
// has another format: the message names the file, the newest checkpoint that is whole, and what to do to go on from
// that. Never an older one by itself: the run would repeat updates, and nobody would know.
absl::StatusOr<std::optional<FoundCheckpoint>> FindCheckpoint(const std::string& run_dir);

absl::StatusOr<PolicyRoles> LoadCheckpoint(const FoundCheckpoint& checkpoint, std::shared_ptr<const LoraLayout> layout);

}  // namespace flowawr
