// What one chunk of rows reports beside its gradient: packed into one tensor where it was computed, so that a device is
// not waited for chunk by chunk, and read on the host once all chunks are there.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"

namespace flowawr {

struct ChunkFigures {
  size_t group = 0;                // position in the batch
  bool is_old_another = false;     // v_old is of another policy than v_theta
  std::vector<std::string> names;  // of what the algorithm reports
  std::vector<int64_t> steps;      // [rows]: which of the rollout's sigmas
  at::Tensor values;               // [3 + names + rows] f64, on the device; see PackChunk()

  int64_t rows() const { return static_cast<int64_t>(steps.size()); }
};

// Loss, greatest magnitude of the gradient, old distance, the algorithm's figures (all sums over rows but the second),
// then each row's loss. `gradient` is that of the sum of losses.
ChunkFigures PackChunk(size_t group, const Rows& rows, const Velocities& velocities, bool is_old_another,
                       const RowLoss& loss, const at::Tensor& gradient);

// Fills in loss, figures and not_finite of `total`, whose `rows` counts all rows; gradient and teaches are the caller's.
// Sums in the chunks' order. Reads each device once.
void SumFigures(const std::vector<ChunkFigures>& chunks, BatchGradient& total);

}  // namespace flowawr
