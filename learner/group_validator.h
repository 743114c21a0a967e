// Whether what an actor submitted is what its lease asked for. Pure.
//
// Every refusal is a status that says what differs, and a cause: the label under which drops are counted.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flowawr/v1/policy.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/group.h"

namespace flowawr {

// What a group may hold. A sampler's latents are of the scale of noise, near 1; the largest that this service's models
// and bad ones that were tried made is below 100. Embeddings have outliers of some thousands. Beyond these bounds a
// group is broken, and one such group would make the whole batch's loss overflow.
inline constexpr double kMostLatent = 1e4;
inline constexpr double kMostEmbedding = 1e5;
inline constexpr double kMostReward = 1e6;

// Sizes that follow from the model and the configuration.
struct GroupShape {
  int64_t channels = 0, latent_height = 0, latent_width = 0;
  int64_t max_tokens = 0, embed_dim = 0, pooled_dim = 0;
  int64_t image_height = 0, image_width = 0;

  // No valid group of `samples` samples is larger.
  uint64_t MaxBlobBytes(uint32_t samples, bool with_images) const;
};

struct Refusal {
  absl::Status status;  // OK: not refused
  std::string cause;
};

// What the header alone tells, before anything large is allocated. `policy` is the version that the lease names.
//   wrong_version, wrong_digest, unbound_adapter, wrong_reward_spec: FailedPrecondition
//   wrong_shape (number of samples or terms), bad_reward (not finite, beyond kMostReward, missing though required, or
//   not one in the whole group), too_large: InvalidArgument
Refusal CheckHeader(const v1::GroupHeader& header, const v1::Lease& lease, const v1::PolicyVersion& policy,
                    const GroupShape& shape);

// The group, from a header that passed CheckHeader() and its whole blob. Sets `cause` on error:
//   malformed (no safetensors file), wrong_shape (missing, extra or mis-shaped tensor, or dtype), not_finite,
//   out_of_range: InvalidArgument
absl::StatusOr<Group> DecodeGroup(const v1::GroupHeader& header, std::string blob, const v1::Lease& lease,
                                  const GroupShape& shape, std::string* cause);

}  // namespace flowawr
