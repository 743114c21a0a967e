// The policy versions that this actor is ready to sample with: the double buffer between learner and sampler.
//
// A version is fetched, digest-checked, parsed, bound and reported to the learner before anybody sees it, and it never
// changes afterwards: a group holds one AdoptedPolicy from its first to its last step. The two versions used last are
// kept; older ones live on only while a group still holds them. Thread-safe; a version is fetched once, however many
// threads ask for it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/nn/lora_adapter.h"
#include "common/rpc/policy_stream.h"
#include "common/sd3/transformer.h"
#include "flowawr/v1/policy.pb.h"

namespace flowawr {

struct AdoptedPolicy {
  v1::PolicyVersion policy;
  BoundAdapter adapter;
};

class PolicyBuffer {
 public:
  using Fetch = absl::AnyInvocable<absl::StatusOr<FetchedPolicy>(uint64_t version)>;
  // Proof of delivery; an error forbids sampling.
  using Report = absl::AnyInvocable<absl::Status(const v1::PolicyVersion&, int64_t bound_modules)>;

  // `transformer` must outlive the buffer.
  PolicyBuffer(const Transformer& transformer, std::shared_ptr<const LoraLayout> layout, Fetch fetch, Report report);

  // The version, fetched if need be. DataLoss for a wrong digest; FailedPrecondition when the adapter does not fit this
  // model, binds no module or not as many as announced, or the learner refuses the report; else what Fetch returned.
  absl::StatusOr<std::shared_ptr<const AdoptedPolicy>> Get(uint64_t version);

  // Forgets every version: after a restart the learner may make other bytes under the same number.
  void Clear();

  // The newest version adopted; 0 before the first.
  uint64_t newest_version() const;

 private:
  absl::StatusOr<std::shared_ptr<const AdoptedPolicy>> Adopt(uint64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(fetching_);
  std::shared_ptr<const AdoptedPolicy> Find(uint64_t version);

  const Transformer& transformer_;
  const std::shared_ptr<const LoraLayout> layout_;
  absl::Mutex fetching_ ABSL_ACQUIRED_BEFORE(mutex_);  // held during a fetch
  Fetch fetch_ ABSL_GUARDED_BY(fetching_);
  Report report_ ABSL_GUARDED_BY(fetching_);

  mutable absl::Mutex mutex_;
  std::list<std::shared_ptr<const AdoptedPolicy>> adopted_ ABSL_GUARDED_BY(mutex_);  // used last comes first; at most 2
  uint64_t newest_version_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t clears_ ABSL_GUARDED_BY(mutex_) = 0;  // a fetch that Clear() overtakes is not kept
};

}  // namespace flowawr
