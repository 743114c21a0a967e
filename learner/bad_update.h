// Updates that are refused: their loss or gradient is not finite, or their loss beyond what the run allows. What was
// refused is kept, so that it can be looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"
#include "learner/group.h"

namespace flowawr {

// Why update `update` may not be made; OK when it may. Internal for numbers that are not finite (NotFiniteError()), with
// `norm` the whole gradient's; FailedPrecondition for a loss above `max_loss` (0: none is). Pure.
absl::Status CheckUpdate(uint64_t update, const std::vector<Group>& batch, const BatchGradient& gradient, double norm,
                         double max_loss);

// Keeps the batch of an update that `why` refused as <run_dir>/bad_batches/update-N.safetensors (x0, embeddings, rewards,
// signals, trajectories, by group) and, of the same name, .json: loss, and who made each group of which prompt with which
// rewards. Only the newest kMostBadBatches stay. Returns the path of the .json.
inline constexpr int kMostBadBatches = 3;
absl::StatusOr<std::string> WriteBadBatch(const std::string& run_dir, uint64_t update, const std::vector<Group>& batch,
                                          const BatchSignals& signals, const BatchGradient& gradient,
                                          const absl::Status& why);

}  // namespace flowawr
