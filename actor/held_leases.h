// The leases that this actor holds, from the learner's answer until the group is accepted, failed or dropped.
//
// Each lease gets a ticket, unique in this process: after a learner's restart the same (group, attempt) may be leased
// to this actor again, and what is left of the old work must not pass for the new. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "actor/prefetch.h"
#include "common/base/steady_cond_var.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

class HeldLeases {
 public:
  explicit HeldLeases(PrefetchLimits limits) : limits_(limits) {}

  // Notes a lease as waiting to be sampled; returns its ticket.
  uint64_t Add(const v1::Lease& lease);

  // Sampling begins: the lease counts no longer as waiting.
  void BeginSampling(uint64_t ticket);

  // Ends a lease. False when it was not held any more: then its group is nobody's business.
  bool Release(uint64_t ticket);

  bool IsHeld(uint64_t ticket) const;
  size_t size() const;

  // For the heartbeat.
  std::vector<v1::LeaseRef> Refs() const;
  // Forgets the leases that the learner says are not worth finishing; returns how many there were.
  int Drop(const std::vector<v1::LeaseRef>& refs);
  // Forgets all: the learner that gave them is gone.
  void Clear();

  // Waits until one more lease is wanted; false when `timeout` passes first.
  bool WaitForRoom(absl::Duration timeout) const;

 private:
  struct Entry {
    v1::LeaseRef ref;
    v1::LeasePurpose purpose;
    uint32_t rows;
    bool is_waiting;
  };
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const PrefetchLimits limits_;
  mutable absl::Mutex mutex_;
  mutable SteadyCondVar changed_;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace flowawr
