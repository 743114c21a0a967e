// The adapters that this actor can give to others, as they came over the wire. Thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/policy_stream.h"

namespace flowawr {

class HeldPolicies {
 public:
  // The newest so many are held: the version that the fleet fetches, and the one before it.
  static constexpr size_t kHeld = 2;

  // A copy of `policy`, which has the digest that its header tells.
  void Add(const FetchedPolicy& policy);
  // Null for an adapter that is not held (any more).
  std::shared_ptr<const FetchedPolicy> Find(absl::string_view sha256) const;

 private:
  mutable absl::Mutex mutex_;
  std::deque<std::shared_ptr<const FetchedPolicy>> held_ ABSL_GUARDED_BY(mutex_);  // the newest comes last
};

}  // namespace flowawr
