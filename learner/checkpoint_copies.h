// A run's second place: whole copies of its checkpoints, and of what it takes to go on from there.
//
//   COPY_TO/checkpoints/update-000010/   as in RUN_DIR, digests checked after copying, made beside and renamed
//   COPY_TO/config.yaml run_id metrics.jsonl known_scorers.jsonl scorers.jsonl
//
// so that `flowawr run COPY_TO --resume` goes on with the run. Checkpoints that the run has removed are removed there, first,
// too, if a newer one is there; one that is newer than all of the run's own stays, as it may be the last whole one. A copy that fails is a warning, tried again after a pause and at the next checkpoint;
// it neither delays nor stops the run.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

// Makes the folder `copy_to` hold what the run in `run_dir` holds now. FailedPrecondition when it may not be
// there (common/config/copy_place.h). What vanishes meanwhile because the run removed it is left out. Cancelled soon after `is_wanted` says no.
absl::Status CopyCheckpoints(const std::string& run_dir, const std::string& copy_to,
                             const std::function<bool()>& is_wanted);

// Owns a thread that copies. Thread-safe.
class CheckpointCopies {
 public:
  // `warn` is called by the thread with what keeps it from copying, and with "" when all is copied again.
  CheckpointCopies(std::string run_dir, std::string copy_to, std::function<void(const std::string& warning)> warn);
  // Finishes what is to be copied if that takes no longer than `kPatience`.
  ~CheckpointCopies();
  CheckpointCopies(const CheckpointCopies&) = delete;
  CheckpointCopies& operator=(const CheckpointCopies&) = delete;

  // There is a new checkpoint. Returns at once.
  void Copy();

  static constexpr absl::Duration kPatience = absl::Seconds(60);
  static constexpr absl::Duration kPause = absl::Seconds(30);  // after a failure

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;  // the thread's, too: a store that hangs must not keep the run from ending
  std::thread thread_;
};

}  // namespace flowawr
