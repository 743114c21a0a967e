// The tensors that a group brings: one list, from which the actor writes, the learner bounds and checks, and the
// largest size of its message follows. Pure.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// What a group's values may be. A sampler's latents are of the scale of noise, near 1; the largest that this service's
// models and bad ones that were tried made is below 100. Embeddings have outliers of some thousands. A log-probability
// is a mean over dimensions, of the scale of log std. Beyond these bounds a group is broken, and one such group would
// make the whole batch's loss overflow.
inline constexpr double kMostLatent = 1e4;
inline constexpr double kMostEmbedding = 1e5;
inline constexpr double kMostLogProb = 1e3;

// The tensors themselves; each is undefined in groups that do not bring it.
struct GroupTensors {
  at::Tensor x0;                             // [K, C, h, w] f32
  at::Tensor prompt_embeds;                  // [T, D] f32
  at::Tensor pooled_prompt_embeds;           // [P] f32
  at::Tensor images;                         // [K, H, W, 3] u8, where they are wanted
  at::Tensor states;                         // [K, W + 1, C, h, w] f32: before each stochastic step, after the last
  at::Tensor log_probs;                      // [K, W] f32: of those steps, by the policy that made them
  at::Tensor negative_prompt_embeds;         // [T, D] f32: the empty prompt's, where sampling is guided
  at::Tensor negative_pooled_prompt_embeds;  // [P] f32: likewise
};

// What follows from the model and the configuration: sizes, and what fixes the sigmas of a given number of steps.
struct GroupShape {
  int64_t channels = 0, latent_height = 0, latent_width = 0;
  int64_t max_tokens = 0, embed_dim = 0, pooled_dim = 0;
  int64_t image_height = 0, image_width = 0;
  double scheduler_shift = 1;
  int num_train_timesteps = 1000;
};

struct GroupTensor {
  std::string name;
  c10::ScalarType dtype;
  std::vector<int64_t> dims;  // the largest; only the dimension `variable` may be smaller, but not below 1
  int variable = -1;          // -1: none
  double greatest = 0;        // values beyond plus or minus this are no sampler's and no encoder's; 0: any will do
  at::Tensor GroupTensors::* field;
  std::string asked_for = "";  // why: the lease "wants the trajectory of steps 2 to 4"; empty: every group brings it
};

// Those of a group made for `lease`, in the order of their names' bytes: x0, embeddings; a trajectory where steps are
// stochastic; pictures where they are wanted; the empty prompt's embeddings where guidance is. The lease's stochastic
// steps must pass CheckStochasticSteps().
std::vector<GroupTensor> GroupSchema(const v1::Lease& lease, const GroupShape& shape);

// No valid group with those tensors is larger.
uint64_t MaxBlobBytes(const std::vector<GroupTensor>& schema);

// The scale of classifier-free guidance; 1, which is none, also where nobody set any.
double GuidanceScale(const v1::SamplerConfig& sampler);
inline bool IsGuided(const v1::SamplerConfig& sampler) { return GuidanceScale(sampler) != 1; }

}  // namespace flowawr
