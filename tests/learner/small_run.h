// The smallest run there is, for tests of the learner's parts and services: tensors of a few numbers, an adapter of one
// module, and leases and groups that fit them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/nn/lora_adapter.h"
#include "flowawr/v1/policy.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/fan_out.h"
#include "learner/lease_desk.h"
#include "learner/policy_shelf.h"
#include "learner/status_board.h"
#include "prometheus/registry.h"

namespace flowawr {

// Waits as the services do, for tests in which a thread may block.
absl::StatusOr<v1::AcquireLeaseResponse> AcquireLease(LeaseDesk& leases, const std::string& actor_id,
                                                      absl::Duration wait);
// Null when the shelf stops.
std::shared_ptr<const StoredPolicy> AwaitBehaviour(PolicyShelf& policies, uint64_t after);
// At the latest after `wait`; sets `seen`.
v1::Status AwaitStatus(StatusBoard& board, uint64_t* seen, absl::Duration wait);

// Batches of two groups, of two samples each.
inline constexpr uint32_t kSmallSamples = 2;
LeaseDesk::Options SmallDeskOptions();

// What a learner has, as it puts it together.
struct SmallDesk {
  explicit SmallDesk(LeaseDesk::Options options = SmallDeskOptions(), PolicyShelf::Options shelf = {});
  // All that wait.
  void Stop(bool is_run_finished = false);

  StatusBoard board;
  PolicyShelf policies;
  LeaseDesk leases;
  prometheus::Registry registry;
  FanOut fan_out;
};

std::shared_ptr<const LoraLayout> SmallLayout();
LoraAdapter SmallAdapter(uint64_t seed);

// For training, or for evaluation if the id says so; under a spec of one required term without endpoint.
v1::Lease SmallLease(uint64_t group_id, uint64_t policy_version = 1);

struct SmallGroup {
  v1::GroupHeader header;
  std::string blob;
};
// What a faithful actor makes of the lease.
SmallGroup MakeSmallGroup(const v1::Lease& lease, const v1::PolicyVersion& policy, const std::string& actor_id);

}  // namespace flowawr
