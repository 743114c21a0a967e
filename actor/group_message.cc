#include "actor/group_message.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/stack.h>

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rollout/group_schema.h"
#include "common/rpc/blob_stream.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

// [K, H, W, 3] u8
at::Tensor ImageTensor(const std::vector<Image>& images) {
  std::vector<at::Tensor> rows;
  for (const Image& image : images)
    rows.push_back(at::from_blob(const_cast<char*>(image.rgb.data()), {image.height, image.width, 3}, at::kByte));
  return at::stack(rows);  // copies
}

GroupTensors TensorsOf(const GroupJob& job) {
  GroupTensors tensors{.x0 = job.x0,
                       .prompt_embeds = job.embeds.prompt_embeds.squeeze(0),
                       .pooled_prompt_embeds = job.embeds.pooled.squeeze(0)};
  if (job.lease.wants_images()) tensors.images = ImageTensor(job.images);
  if (job.trajectory.has_value()) {
    tensors.states = job.trajectory->states;
    tensors.log_probs = job.trajectory->log_probs;
  }
  if (job.negative.prompt_embeds.defined()) {
    tensors.negative_prompt_embeds = job.negative.prompt_embeds.squeeze(0);
    tensors.negative_pooled_prompt_embeds = job.negative.pooled.squeeze(0);
  }
  return tensors;
}

// What the schema names, by name; sizes are the learner's to check.
absl::StatusOr<std::map<std::string, at::Tensor>> ToSend(const GroupJob& job) {
  const GroupTensors tensors = TensorsOf(job);
  std::map<std::string, at::Tensor> named;
  for (const GroupTensor& expected : GroupSchema(job.lease, /*shape=*/{})) {
    const at::Tensor& tensor = tensors.*expected.field;
    if (!tensor.defined())
      return absl::InternalError(absl::StrCat("group ", job.lease.group_id(), " has no ", expected.name,
                                              ", but its lease ", expected.asked_for));
    named[expected.name] = MovedTo(tensor.to(expected.dtype), at::kCPU);
  }
  return named;
}

}  // namespace

absl::StatusOr<GroupMessage> MakeGroupMessage(const GroupJob& job, const std::string& actor_id) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto tensors, ToSend(job));
  GroupMessage message;
  FLOWAWR_ASSIGN_OR_RETURN(message.blob, SerializeSafetensors(tensors));
  v1::GroupHeader& header = message.header;
  header.set_actor_id(actor_id);
  header.mutable_lease()->set_group_id(job.lease.group_id());
  header.mutable_lease()->set_attempt(job.lease.attempt());
  header.set_policy_version(job.policy->policy.version());
  header.set_policy_sha256(job.policy->policy.sha256());
  header.set_bound_modules(job.policy->adapter.modules());
  header.set_reward_spec_version(job.lease.reward_spec().version());
  header.mutable_samples()->Add(job.scores.begin(), job.scores.end());
  *header.mutable_blob() = MakeBlobHeader(message.blob);
  header.mutable_spans()->Add(job.spans.begin(), job.spans.end());
  header.mutable_stage_seconds()->insert(job.stage_seconds.begin(), job.stage_seconds.end());
  return message;
}

}  // namespace flowawr
