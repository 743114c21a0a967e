// A group as it arrived and was found valid.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Evaluation groups have ids of their own, the same at every evaluation, so that the same noise is drawn each time.
inline constexpr uint64_t kEvaluationGroupBit = uint64_t{1} << 63;
inline bool IsEvaluationGroup(uint64_t group_id) { return (group_id & kEvaluationGroupBit) != 0; }

// For people: `group 12 (prompt "a sign that says...")`.
std::string NameOf(const v1::Lease& lease);

struct Group {
  v1::Lease lease;  // as it was given out
  v1::GroupHeader header;
  // Undefined in an evaluation group that was accepted: x0 and both embeddings.
  at::Tensor x0;                    // [K, C, h, w] f32
  at::Tensor prompt_embeds;         // [T, D] f32
  at::Tensor pooled_prompt_embeds;  // [P] f32
  at::Tensor images;                // [K, H, W, 3] u8, undefined unless the lease wanted them
  at::Tensor rewards;               // [terms, K] f64, NaN where an optional scorer failed

  uint64_t id() const { return lease.group_id(); }
};

}  // namespace flowawr
