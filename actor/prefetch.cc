#include "actor/prefetch.h"

namespace flowawr {
namespace {

bool CanShareBatch(const v1::Lease& a, const v1::Lease& b) {
  return a.purpose() == v1::EVALUATION && b.purpose() == v1::EVALUATION && a.policy_version() == b.policy_version() &&
         a.sampler().solver() == b.sampler().solver() && a.sampler().steps() == b.sampler().steps();
}

}  // namespace

bool WantsLease(const WaitingWork& waiting, const PrefetchLimits& limits) {
  return waiting.training_groups < limits.training_groups && waiting.evaluation_rows < limits.evaluation_rows;
}

size_t GroupsToMerge(absl::Span<const v1::Lease* const> waiting, const PrefetchLimits& limits) {
  if (waiting.empty()) return 0;
  int64_t rows = waiting[0]->samples();
  size_t groups = 1;
  while (groups < waiting.size() && CanShareBatch(*waiting[0], *waiting[groups])) {
    rows += waiting[groups]->samples();
    if (rows > limits.evaluation_rows) break;
    ++groups;
  }
  return groups;
}

}  // namespace flowawr
