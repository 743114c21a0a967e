// Whether what an actor submitted is what its lease asked for. Pure.
//
// Every refusal is a status that says what differs, and a cause: the label under which drops are counted.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rollout/group_schema.h"
#include "flowawr/v1/policy.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/group.h"

namespace flowawr {

inline constexpr double kMostReward = 1e6;

struct Refusal {
  absl::Status status;  // OK: not refused
  std::string cause;
};

// What the header alone tells, before anything large is allocated. `policy` is the version that the lease names.
//   wrong_version, wrong_digest, unbound_adapter, wrong_reward_spec: FailedPrecondition
//   wrong_shape (number of samples or terms; a lease whose stochastic steps are none of its sampler's), bad_reward (not
//   finite, beyond kMostReward, missing though required, or not one in the whole group), too_large: InvalidArgument
Refusal CheckHeader(const v1::GroupHeader& header, const v1::Lease& lease, const v1::PolicyVersion& policy,
                    const GroupShape& shape);

// The group, from a header that passed CheckHeader() and its whole blob. Sets `cause` on error:
//   malformed (no safetensors file), wrong_shape (missing, extra or mis-shaped tensor, or dtype; a trajectory of other
//   steps than the lease's), not_finite, out_of_range, wrong_log_prob: InvalidArgument
//
// The log-probability of a stochastic step follows from the noise that the lease's keys give, whatever the policy was:
// one beyond the tolerance of LogProbOfNoise() (common/diffusion/sde_step.h) is of other noise, another noise level or
// other sigmas, and the group could not be trained on.
absl::StatusOr<Group> DecodeGroup(const v1::GroupHeader& header, std::string blob, const v1::Lease& lease,
                                  const GroupShape& shape, std::string* cause);

}  // namespace flowawr
