#include "tests/learner/small_run.h"

#include <ATen/ops/full.h>

#include <utility>

#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/rpc/blob_stream.h"
#include "common/tensor/safetensors.h"
#include "learner/group.h"

namespace flowawr {
namespace {

constexpr GroupShape kShape = {.channels = 1,
                               .latent_height = 2,
                               .latent_width = 3,
                               .max_tokens = 4,
                               .embed_dim = 5,
                               .pooled_dim = 6,
                               .image_height = 7,
                               .image_width = 8};

}  // namespace

absl::StatusOr<v1::AcquireLeaseResponse> AcquireLease(LeaseDesk& leases, const std::string& actor_id,
                                                      absl::Duration wait) {
  absl::StatusOr<v1::AcquireLeaseResponse> answer;
  absl::Notification done;
  leases.Acquire(actor_id, wait, [&](absl::StatusOr<v1::AcquireLeaseResponse> given) {
    answer = std::move(given);
    done.Notify();
  });
  done.WaitForNotification();
  return answer;
}

std::shared_ptr<const StoredPolicy> AwaitBehaviour(PolicyShelf& policies, uint64_t after) {
  std::shared_ptr<const StoredPolicy> answer;
  absl::Notification done;
  policies.AwaitBehaviour(after, [&](absl::StatusOr<std::shared_ptr<const StoredPolicy>> given) {
    answer = std::move(given).value();
    done.Notify();
  });
  done.WaitForNotification();
  return answer;
}

v1::Status AwaitStatus(StatusBoard& board, uint64_t* seen, absl::Duration wait) {
  v1::Status answer;
  absl::Notification done;
  board.AwaitStatus(*seen, absl::InfinitePast(), MonotonicNow() + wait, [&](absl::StatusOr<StatusBoard::Seen> given) {
    *seen = given->seen;
    answer = *given->status;
    done.Notify();
  });
  done.WaitForNotification();
  return answer;
}

LeaseDesk::Options SmallDeskOptions() {
  LeaseDesk::Options options;
  options.leases = {.timeout = absl::Seconds(8), .max_attempts = 2};
  options.batches = {.groups_per_batch = 2, .max_staleness = 0};
  options.shape = kShape;
  options.default_reward_endpoint = "127.0.0.1:7000";
  return options;
}

SmallDesk::SmallDesk(LeaseDesk::Options options, PolicyShelf::Options shelf)
    : board(options.clock),
      policies([&] {
        shelf.keep = static_cast<size_t>(options.batches.max_staleness) + 2;
        return std::move(shelf);
      }()),
      leases(std::move(options), &policies, &board),
      fan_out(&policies, &registry) {}

void SmallDesk::Stop(bool is_run_finished) {
  leases.Stop(is_run_finished);
  policies.Stop();
  board.Stop();
}

std::shared_ptr<const LoraLayout> SmallLayout() {
  return std::make_shared<LoraLayout>(LoraLayout{2, 4, {{"transformer_blocks.0.attn.to_q", 3, 5}}});
}

LoraAdapter SmallAdapter(uint64_t seed) { return LoraAdapter::Initialise(SmallLayout(), seed); }

v1::Lease SmallLease(uint64_t group_id, uint64_t policy_version) {
  v1::Lease lease;
  lease.set_group_id(group_id);
  lease.set_purpose(IsEvaluationGroup(group_id) ? v1::EVALUATION : v1::TRAINING);
  lease.mutable_prompt()->set_text("a sign");
  lease.set_samples(kSmallSamples);
  lease.set_policy_version(policy_version);
  lease.mutable_reward_spec()->set_version(1);
  v1::RewardSpecTerm& term = *lease.mutable_reward_spec()->add_terms();
  term.set_scorer("ocr");
  term.set_weight(1);
  term.set_is_required(true);
  return lease;
}

SmallGroup MakeSmallGroup(const v1::Lease& lease, const v1::PolicyVersion& policy, const std::string& actor_id) {
  SmallGroup group;
  group.blob = SerializeSafetensors({{"x0", at::full({kSmallSamples, 1, 2, 3}, 0.5f)},
                                     {"prompt_embeds", at::full({4, 5}, 0.25f)},
                                     {"pooled_prompt_embeds", at::full({6}, 0.125f)}})
                   .value();
  group.header.set_actor_id(actor_id);
  group.header.mutable_lease()->set_group_id(lease.group_id());
  group.header.mutable_lease()->set_attempt(lease.attempt());
  group.header.set_policy_version(lease.policy_version());
  group.header.set_policy_sha256(policy.sha256());
  group.header.set_bound_modules(policy.modules());
  group.header.set_reward_spec_version(lease.reward_spec().version());
  for (uint32_t k = 0; k < kSmallSamples; ++k) group.header.add_samples()->add_terms()->set_reward(0.5 * k);
  *group.header.mutable_blob() = MakeBlobHeader(group.blob);
  return group;
}

}  // namespace flowawr
