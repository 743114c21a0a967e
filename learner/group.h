// A group as it arrived and was found valid.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "common/rollout/group_schema.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Evaluation groups have ids of their own, the same at every evaluation, so that the same noise is drawn each time.
inline constexpr uint64_t kEvaluationGroupBit = uint64_t{1} << 63;
inline bool IsEvaluationGroup(uint64_t group_id) { return (group_id & kEvaluationGroupBit) != 0; }

// For people: `group 12 (prompt "a sign that says...")`.
std::string NameOf(const v1::Lease& lease);

// An evaluation group that was accepted no longer has what only training needs: of its tensors the images are left.
struct Group : GroupTensors {
  v1::Lease lease;  // as it was given out
  v1::GroupHeader header;
  at::Tensor rewards;  // [terms, K] f64, NaN where an optional scorer failed

  uint64_t id() const { return lease.group_id(); }
};

}  // namespace flowawr
