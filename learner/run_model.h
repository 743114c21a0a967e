// Which model a run is made with, part by part, and whether an actor has the same.
//
// The learner knows the parts that lie in its own folder; it needs no more than the transformer itself. A part that it
// lacks is what the first actor says, for the whole run: no two actors may differ. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/sd3/component_fingerprints.h"
#include "flowawr/v1/checkpoint.pb.h"

namespace flowawr {

class RunModel {
 public:
  explicit RunModel(ComponentFingerprints known) : known_(std::move(known)) {}

  // FailedPrecondition that names every part in which the actor differs, and what to do; InvalidArgument for
  // a part that no model has. What it alone knows is noted.
  absl::Status Check(const std::string& actor_id, const ComponentFingerprints& theirs);

  ComponentFingerprints parts() const;

 private:
  mutable absl::Mutex mutex_;
  ComponentFingerprints known_ ABSL_GUARDED_BY(mutex_);
};

// Notes in `manifest` what of the model a resumed run must find again: all but the programs, which may be newer.
void RecordModel(const ComponentFingerprints& parts, v1::CheckpointManifest* manifest);

// Of a run that goes on with the model in `folder`, whose parts are `found`: FailedPrecondition that names what is not
// as it was when the run began. Checkpoints of older versions know the transformer alone.
absl::Status CheckSameModel(const v1::CheckpointManifest& manifest, const std::string& folder,
                            const ComponentFingerprints& found);

}  // namespace flowawr
