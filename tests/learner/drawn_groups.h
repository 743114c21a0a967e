// Groups and adapters drawn from keyed noise, for tests of the gradient with a real transformer.
#pragma once

#include <cstdint>
#include <memory>

#include "common/diffusion/noise.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "learner/group.h"

namespace flowawr {

// Of latents 4 x 8 and 6 text tokens.
inline Group DrawnGroup(const Transformer& transformer, uint64_t id, uint64_t version, int64_t samples) {
  Group group;
  group.lease.set_group_id(id);
  group.lease.set_policy_version(version);
  group.lease.set_samples(static_cast<uint32_t>(samples));
  const TransformerConfig& model = transformer.config();
  group.x0 = InitialNoise(11, id, 0, {samples, model.in_channels, 4, 8});
  group.prompt_embeds = InitialNoise(12, id, 0, {6, model.joint_attention_dim});
  group.pooled_prompt_embeds = InitialNoise(13, id, 0, {model.pooled_projection_dim});
  return group;
}

// B is not zero, so that it changes the velocity.
inline LoraAdapter DrawnAdapter(const std::shared_ptr<const LoraLayout>& layout, uint64_t seed) {
  return LoraAdapter(layout, InitialNoise(seed, 0, 0, {layout->size()}) * 0.05);
}

}  // namespace flowawr
