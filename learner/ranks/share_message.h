// What rank 0 sends a rank to compute, and what comes back, as safetensors.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "learner/gradient_plan.h"

namespace flowawr {

// A share as a rank has it: of the batch, only the groups that `range` is of.
struct RankShare {
  uint64_t update = 0;
  std::vector<Group> batch;
  at::Tensor signals;  // [groups, samples] f32
  std::vector<bool> is_all_equal;
  LoraAdapter current;
  std::map<uint64_t, LoraAdapter> old;  // by version; those that are not here are the current one
  GradientPlan plan;                    // of as many chunks as rank 0's, those outside `range` idle
  ChunkRange range;
};

// `old` has what request.old_adapter gives for each version of the batch.
using OldAdapters = std::map<uint64_t, const LoraAdapter*>;
absl::StatusOr<std::string> SerializeShare(const GradientRequest& request, const OldAdapters& old,
                                           const GradientPlan& plan, ChunkRange range);
// InvalidArgument when the bytes are no share of an adapter of that layout.
absl::StatusOr<RankShare> ParseShare(std::string bytes, const std::shared_ptr<const LoraLayout>& layout);

absl::StatusOr<std::string> SerializePartial(const PartialGradient& partial);
// `plan` and `range` are rank 0's own, by which the figures' groups are numbered. InvalidArgument when it is not theirs.
absl::StatusOr<PartialGradient> ParsePartial(std::string bytes, const GradientPlan& plan, ChunkRange range);

}  // namespace flowawr
