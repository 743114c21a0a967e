// Cuts the gradient of one optimiser step into chunks, and puts it together from what was computed of them. Who computes
// which chunks changes no bit: the plan follows from the batch alone, and sums are those of learner/tree_sum.h. Pure.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "learner/algorithm/algorithm.h"
#include "learner/chunk_figures.h"
#include "learner/gradient_engine.h"
#include "learner/tree_sum.h"

namespace flowawr {

// Rows [begin, end) of one group, numbered sample by sample.
struct Chunk {
  size_t group = 0;  // position in the batch
  int64_t begin = 0, end = 0;
  bool is_idle = false;  // the group teaches nothing, so that nobody computes it; its place in the sum is kept
};

struct GradientPlan {
  std::vector<Chunk> chunks = {};                  // in the batch's order
  std::vector<std::vector<int64_t>> samples = {};  // by group: those that are trained on, ascending
  int64_t rows = 0;                                // of all groups
};

// The positions of all of a group's samples.
std::vector<int64_t> AllSamples(const Group& group);

// Chunks of at most `micro_batch` rows.
GradientPlan PlanGradient(const GradientRequest& request, const Algorithm& algorithm, int64_t micro_batch);

// Chunks [begin, end) of a plan.
struct ChunkRange {
  size_t begin = 0, end = 0;

  size_t size() const { return end - begin; }
  bool operator==(const ChunkRange&) const = default;
};

// What was computed of a range.
struct PartialGradient {
  // [adapter size] f32: of sums of losses, by the whole plan's tree; undefined where all chunks are idle.
  std::map<TreeNode, at::Tensor> nodes = {};
  std::vector<ChunkFigures> figures = {};  // by chunk, without those that are idle
};

// Empty. An undefined tensor stands for zeros.
TreeSum<at::Tensor> GradientSum(const GradientPlan& plan);

// From the nodes of a sum, and figures, that are whole. May write into the sum's tensor.
BatchGradient FinishGradient(const GradientRequest& request, const GradientPlan& plan,
                             const std::map<TreeNode, at::Tensor>& nodes, const std::vector<ChunkFigures>& figures);

}  // namespace flowawr
