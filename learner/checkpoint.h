// Everything a run needs to go on, on disk: written whole or not at all, and checked before it is believed.
//
//   RUN_DIR/checkpoints/update-000010/   current.safetensors behaviour.safetensors average.safetensors
//                                        optimizer.safetensors checkpoint.json (written last, holds the others' digests)
//   RUN_DIR/checkpoints/latest           the newest folder's name, for people; loading does not rely on it
//
// A checkpoint is built in a temporary folder, fsynced and renamed, so a kill at any instant leaves the older ones intact.
// One that is saved again is moved aside to update-000010.old meanwhile, and is found there after a kill.
// Not thread-safe: one run loop writes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "learner/policy_roles.h"

namespace flowawr {

// Fills manifest.sha256 and returns the checkpoint's folder. Of the older ones the newest `keep` - 1 stay.
// ResourceExhausted when the disk is full; what was there before is then untouched.
absl::StatusOr<std::string> SaveCheckpoint(const std::string& run_dir, v1::CheckpointManifest manifest,
                                           const PolicyRoles& roles, int keep);

struct FoundCheckpoint {
  std::string folder;
  v1::CheckpointManifest manifest;
};

// The newest checkpoint whose files all have the digests that its manifest names; nullopt when there is none at all.
// Broken ones are passed over, each with a line in `warnings`. DataLoss when all are broken.
absl::StatusOr<std::optional<FoundCheckpoint>> FindCheckpoint(const std::string& run_dir,
                                                              std::vector<std::string>* warnings);

absl::StatusOr<PolicyRoles> LoadCheckpoint(const FoundCheckpoint& checkpoint, std::shared_ptr<const LoraLayout> layout);

}  // namespace flowawr
