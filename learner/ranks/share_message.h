// What rank 0 sends a rank to compute, and what comes back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/rollout/group_schema.h"
#include "learner/gradient_plan.h"
#include "learner/ranks/rank_link.h"

namespace flowawr {

// A share as a rank has it: of the batch, only the groups that `range` is of.
struct RankShare {
  uint64_t update = 0;
  std::vector<Group> batch;
  at::Tensor signals;  // [groups, samples] f32
  std::vector<bool> is_all_equal;
  LoraAdapter current;                  // adapters lie where the link left them
  std::map<uint64_t, LoraAdapter> old;  // by version; those that are not here are the current one
  GradientPlan plan;                    // of as many chunks as rank 0's, those outside `range` idle
  ChunkRange range;
};

// A share is as large as its groups and adapters. Only rank 0, which has proved who it is, can send one, and memory is
// taken as it comes.
inline constexpr MessageBound kShareBound = {.text_bytes = int64_t{64} << 20, .tensor_bytes = int64_t{1} << 40};

// `old` has what request.old_adapter gives for each version of the batch.
using OldAdapters = std::map<uint64_t, const LoraAdapter*>;
// Internal when LibTorch refuses.
absl::StatusOr<RankMessage> ShareMessage(const GradientRequest& request, const OldAdapters& old, const GradientPlan& plan,
                                         ChunkRange range);
// `shape` is the run's. InvalidArgument when the message is no share of that shape and of an adapter of that layout. How
// many rows a group has is the algorithm's to know: whether chunks end within them is not looked at.
absl::StatusOr<RankShare> ParseShare(RankMessage message, const std::shared_ptr<const LoraLayout>& layout,
                                     const GroupShape& shape);

// Waits for the devices on which it was computed: their errors are returned as OnDevice() has them.
absl::StatusOr<RankMessage> PartialMessage(const PartialGradient& partial);
// No message about `range` of `plan`, with an adapter of `size` floats, is larger.
MessageBound PartialBound(const GradientPlan& plan, ChunkRange range, int64_t size);
// `plan` and `range` are rank 0's own, by which nodes and figures' groups are numbered. InvalidArgument when the message
// is not exactly the gradient of them, in shape: its numbers are not looked at.
absl::StatusOr<PartialGradient> ParsePartial(RankMessage message, const GradientPlan& plan, ChunkRange range, int64_t size);

}  // namespace flowawr
