// Everything a run needs to go on, on disk: written whole or not at all, and checked before it is believed.
//
//   RUN_DIR/checkpoints/update-000010/   current.safetensors behaviour.safetensors average.safetensors
//                                        optimizer.safetensors checkpoint.json
//                                        SHA256SUMS (digests of the others, as `sha256sum --check` reads them)
//                                        and what else the run wants to remember, e.g. shadows.json
//   RUN_DIR/checkpoints/latest           the newest folder's name, for people; loading does not rely on it
//
// A checkpoint is built in a temporary folder, fsynced and renamed, so a kill at any instant leaves the older ones
// intact. One that is saved again is moved aside to update-000010.old meanwhile. Not thread-safe: one run loop writes,
// under the lock of the run directory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "learner/checkpoint_retention.h"
#include "learner/policy_roles.h"

namespace flowawr {

// What a save has beside manifest and policies.
struct CheckpointExtras {
  std::map<std::string, std::string> notes;  // bytes by file name; no other release needs to know them
  std::map<uint64_t, double> heldout;        // as of CheckpointsToRemove()
};

// Returns the checkpoint's folder. Of the older ones those stay that `retention` says.
// ResourceExhausted when the disk is full; what was there before is then untouched.
absl::StatusOr<std::string> SaveCheckpoint(const std::string& run_dir, v1::CheckpointManifest manifest,
                                           const PolicyRoles& roles, const Retention& retention,
                                           const CheckpointExtras& extras = {});

// Removes what a killed save left, and puts back the checkpoint that it had moved aside if nothing stands in its place.
// For a run directory that this process holds, or a copy of one that it makes.
absl::Status TidyCheckpoints(const std::string& run_dir);

struct FoundCheckpoint {
  std::string folder;
  v1::CheckpointManifest manifest;
};

// The newest checkpoint; nullopt when there is none. DataLoss when any byte of it was changed or is missing, or when it
// has another format: the message names the file, the newest checkpoint that is whole, and what to do to go on from
// that. Never an older one by itself: the run would repeat updates, and nobody would know.
absl::StatusOr<std::optional<FoundCheckpoint>> FindCheckpoint(const std::string& run_dir);

// A note of it; empty: it has none of that name.
std::string ReadNote(const FoundCheckpoint& checkpoint, const std::string& name);

absl::StatusOr<PolicyRoles> LoadCheckpoint(const FoundCheckpoint& checkpoint, std::shared_ptr<const LoraLayout> layout);

}  // namespace flowawr
