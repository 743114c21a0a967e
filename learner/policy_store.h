// The policy versions that actors may still ask for: immutable adapter snapshots by number.
//
// Not thread-safe (the Desk guards it); what it hands out is immutable and outlives it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "flowawr/v1/policy.pb.h"

namespace flowawr {

struct StoredPolicy {
  v1::PolicyHeader header;
  std::string bytes;    // adapter_model.safetensors of a PEFT folder
  LoraAdapter adapter;  // the same values
};

class PolicyStore {
 public:
  // `next_version` is the number of the next Publish(). `keep` behaviour versions stay, and the newest average version.
  PolicyStore(uint64_t next_version, size_t keep) : next_version_(next_version), keep_(keep) {}

  // What Publish() takes, of a copy of `adapter`: serialised and hashed, all but its number. Takes its time; needs no
  // lock.
  static absl::StatusOr<StoredPolicy> Snapshot(const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update);
  // Makes it the next version.
  std::shared_ptr<const StoredPolicy> Publish(StoredPolicy snapshot);

  // Null for a version that is not kept.
  std::shared_ptr<const StoredPolicy> Find(uint64_t version) const;
  // The behaviour version that new training leases name; null before the first Publish().
  std::shared_ptr<const StoredPolicy> newest_behaviour() const { return newest_behaviour_; }
  uint64_t next_version() const { return next_version_; }

 private:
  void DropOld(v1::PolicyRole role, size_t keep);

  uint64_t next_version_;
  const size_t keep_;
  std::map<uint64_t, std::shared_ptr<const StoredPolicy>> versions_;
  std::shared_ptr<const StoredPolicy> newest_behaviour_;
};

}  // namespace flowawr
