// The adapters that this actor can give to others, as they came over the wire, and by what it knows whom. Thread-safe.
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

  // `policy` has the digest that its header tells. None but behaviour policies are held: nobody asks others for those
  // that evaluations sample with.
  void Add(FetchedPolicy policy);
  // Null for an adapter that is not held (any more).
  std::shared_ptr<const FetchedPolicy> Find(absl::string_view sha256) const;

  // The learner's, see common/rpc/fetch_ticket.h. Empty, as before the first registration: others get nothing here, and
  // this actor nothing from them.
  void SetFetchKey(std::string key);
  std::string fetch_key() const;

 private:
  mutable absl::Mutex mutex_;
  std::string fetch_key_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<const FetchedPolicy>> held_ ABSL_GUARDED_BY(mutex_);  // the newest comes last
};

}  // namespace flowawr
