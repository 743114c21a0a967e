// How far ahead an actor reads, and which groups it samples together. Pure: snapshots in, decisions out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "common/rollout/actor_sizes.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// What the actor holds but has not begun to sample.
struct WaitingWork {
  int training_groups = 0;
  int64_t evaluation_rows = 0;
};

struct PrefetchLimits {
  // One: the next group is there when the last is sampled, and no more is withheld from other actors.
  int training_groups = 1;
  // An evaluation group is often a single image; so many rows are sampled as one batch.
  int64_t evaluation_rows = kEvaluationRows;
};

// Whether to ask the learner for one more lease.
bool WantsLease(const WaitingWork& waiting, const PrefetchLimits& limits);

// How many groups, from the front of `waiting`, to sample as one batch: at least 1 unless there is none.
//
// Training groups are always sampled alone, because the bits of a row may depend on the size of its batch and strict
// runs promise the same bits. Evaluation groups join when policy version, sampler and stochastic steps are the
// same and their rows do not exceed `limits.evaluation_rows`.
size_t GroupsToMerge(absl::Span<const v1::Lease* const> waiting, const PrefetchLimits& limits);

}  // namespace flowawr
