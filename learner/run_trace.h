// The run's timeline, RUN_DIR/trace.json: what the run loop did, and what the actors did for the groups that came in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/telemetry/trace.h"
#include "learner/group.h"

namespace flowawr {

// What the group's actor says that it did for it, by the actor's clock. Spans that cannot be (no known stage, not
// finite, longer than a day, of the future or of a week ago) are left out; at most 16 are taken. Pure.
std::vector<TraceSpan> SpansOf(const Group& group, absl::Time now);

// Never fails and never waits: a run is worth more than its timeline. Of one thread.
class RunTrace {
 public:
  // Nothing is written before Open(), nor with `mib` 0.
  void Open(const std::string& run_dir, int mib);

  // A stage of the run loop, for the update that is being made.
  void Stage(absl::string_view stage, absl::Time start, absl::Duration length, uint64_t update);
  void Groups(const std::vector<Group>& groups);
  // A moment that explains what follows, e.g. a swap of rewards.
  void Mark(const std::string& what);

 private:
  std::unique_ptr<TraceWriter> writer_;
};

}  // namespace flowawr
