#include "actor/prefetch.h"

#include <google/protobuf/util/message_differencer.h>

namespace flowawr {
namespace {

bool CanShareBatch(const v1::Lease& a, const v1::Lease& b) {
  using google::protobuf::util::MessageDifferencer;
  return a.purpose() == v1::EVALUATION && b.purpose() == v1::EVALUATION && a.policy_version() == b.policy_version() &&
         MessageDifferencer::Equals(a.sampler(), b.sampler()) && a.has_stochastic() == b.has_stochastic() &&
         MessageDifferencer::Equals(a.stochastic(), b.stochastic());
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
