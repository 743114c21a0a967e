// A finished group as it travels to the learner: header and blob. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "actor/group_job.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

struct GroupMessage {
  v1::GroupHeader header;
  std::string blob;  // safetensors: the tensors of GroupSchema()
};

// `job` has been through sample, decode and score. The same job gives the same blob. Internal when it lacks a tensor
// that its lease asks for.
absl::StatusOr<GroupMessage> MakeGroupMessage(const GroupJob& job, const std::string& actor_id);

}  // namespace flowawr
