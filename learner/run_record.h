// Where the history of a run goes: lines of metrics.jsonl, and TensorBoard events beside them. What cannot be written
// holds the run (learner/run_hold.h). Of the run loop's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/telemetry/event_writer.h"
#include "common/tensor/image.h"
#include "learner/run_directory.h"
#include "learner/run_hold.h"

namespace flowawr {

using Scalars = std::vector<std::pair<std::string, double>>;  // by tag

class RunRecord {
 public:
  // Both outlive it.
  RunRecord(RunDirectory* directory, RunHold* hold) : directory_(*directory), hold_(*hold) {}

  // Begins a file of events; nothing is written before.
  absl::Status Open();
  // A line, then its figures.
  absl::Status Write(const std::string& line, uint64_t update, const Scalars& scalars);
  absl::Status WriteImage(const std::string& tag, uint64_t update, const Image& image);

 private:
  RunDirectory& directory_;
  RunHold& hold_;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace flowawr
