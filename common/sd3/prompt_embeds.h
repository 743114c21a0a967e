// What the transformer is conditioned on.
#pragma once

#include <ATen/core/Tensor.h>

namespace flowawr {

// For B prompts.
struct PromptEmbeds {
  at::Tensor prompt_embeds;  // [B, T, joint_attention_dim]; T = CLIP's length + max_sequence_length
  at::Tensor pooled;         // [B, pooled_projection_dim]
};

}  // namespace flowawr
