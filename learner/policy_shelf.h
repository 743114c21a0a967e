// The policy versions that actors may still ask for, and who waits for the next one.
//
//   RunLoop ── Publish() ──> PolicyShelf <── PolicyService (find, await, adoption)
//
// A version is made ready (copied, serialised, hashed: some 100 ms for a large adapter) before the lock is taken, and
// what is dropped is freed after it: the lock is held for a few pointers, whatever an adapter's size. It comes after
// LeaseDesk's and before Dispatcher's. What the shelf hands out is immutable and outlives it. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/nn/lora_adapter.h"
#include "flowawr/v1/policy.pb.h"
#include "learner/dispatcher.h"

namespace flowawr {

struct StoredPolicy {
  v1::PolicyHeader header;
  std::string bytes;    // adapter_model.safetensors of a PEFT folder
  LoraAdapter adapter;  // the same values
};

// Of a copy of `adapter`, all but its number.
absl::StatusOr<StoredPolicy> MakeStoredPolicy(const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update);

class PolicyShelf {
 public:
  // Whoever waits: it bounds the memory, not the actors.
  static constexpr size_t kMaxWaits = 1 << 16;

  struct Options {
    uint64_t next_version = 1;
    size_t keep = 2;  // behaviour versions; of average ones the newest alone
    // Makes a version ready; called by Publish(), in its thread.
    std::function<absl::StatusOr<StoredPolicy>(const LoraAdapter&, v1::PolicyRole, uint64_t)> make = MakeStoredPolicy;
  };
  explicit PolicyShelf(Options options);
  // Ends what still waits, as Stop() does.
  ~PolicyShelf();

  // Makes it the next version. `adapter` must not change meanwhile.
  absl::StatusOr<std::shared_ptr<const StoredPolicy>> Publish(const LoraAdapter& adapter, v1::PolicyRole role,
                                                              uint64_t update);
  // Null for a version that is not kept.
  std::shared_ptr<const StoredPolicy> Find(uint64_t version) const;
  // The behaviour version that new training leases name; null before the first.
  std::shared_ptr<const StoredPolicy> newest_behaviour() const;
  uint64_t next_version() const;

  // The newest behaviour version once it is above `after`; null when the shelf stops. ResourceExhausted when kMaxWaits
  // wait already. `done` is called once, from any thread, without a lock, perhaps before this returns; it must not block.
  using OnBehaviour = absl::AnyInvocable<void(absl::StatusOr<std::shared_ptr<const StoredPolicy>>)>;
  WaitTicket AwaitBehaviour(uint64_t after, OnBehaviour done);
  // Ends a wait, unless it has been answered: its callback gets Cancelled.
  void CancelWait(WaitTicket ticket);

  // The proof that an actor bound what was published. NotFound for a version that is not kept, FailedPrecondition for
  // other bytes or too few modules.
  absl::Status CheckAdoption(const v1::ReportAdoptionRequest& request) const;

  // Ends every wait for good.
  void Stop();

 private:
  struct Wait {
    uint64_t after = 0;
    OnBehaviour done;
  };
  using Dropped = std::vector<std::shared_ptr<const StoredPolicy>>;

  // Those of that role but the newest `keep`.
  Dropped TakeOld(v1::PolicyRole role, size_t keep) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time Answer(Dispatcher::Answers& answers);

  const Options options_;
  mutable absl::Mutex mutex_;
  uint64_t next_version_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, std::shared_ptr<const StoredPolicy>> versions_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const StoredPolicy> newest_behaviour_ ABSL_GUARDED_BY(mutex_);
  std::map<WaitTicket, Wait> waits_ ABSL_GUARDED_BY(mutex_);
  WaitTicket next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  bool is_due_ ABSL_GUARDED_BY(mutex_) = false;  // a version or a wait has come since the waits were looked at
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  Dispatcher dispatcher_;
};

}  // namespace flowawr
