// Which groups are behind a loss or gradient that is not finite, for people. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "learner/group.h"

namespace flowawr {

// `group 12 (prompt "a sign"), attempt 1 of actor a-0, policy version 7`.
std::string DescribeMadeGroup(const Group& group);

// Internal, for update `update`: names the groups at the positions `not_finite` of the batch, the first few of many,
// and says what to do, which is another thing when it is all of them, or when no single one is (empty).
absl::Status NotFiniteError(uint64_t update, const std::vector<Group>& batch, const std::vector<size_t>& not_finite);

}  // namespace flowawr
