// The frozen weights of the SD3 transformer, projections of one input fused, bound by their names in diffusers.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "common/nn/lora_linear.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/model_fingerprint.h"
#include "common/sd3/transformer.h"

namespace flowawr {

// RMSNorm weights [head_dim]; undefined without qk_norm.
struct QkNorm {
  at::Tensor q;
  at::Tensor k;
};

struct FeedForwardWeights {
  FrozenLinear in;
  FrozenLinear out;
};

// MMDiT-X: the second attention of a block, of the image stream over itself.
struct DualAttentionWeights {
  FrozenLinear qkv;
  QkNorm norm;
  FrozenLinear to_out;
};

struct JointBlock {
  // The last block: its text stream ends here, so that text is attended to but neither attends nor goes on.
  bool context_pre_only = false;

  FrozenLinear qkv;
  QkNorm norm;
  FrozenLinear to_out;
  FeedForwardWeights ff;
  std::optional<DualAttentionWeights> dual;

  FrozenLinear context_qkv;  // keys and values only if context_pre_only
  QkNorm context_norm;
  FrozenLinear context_to_out;
  FeedForwardWeights context_ff;
  // In a context_pre_only block: never computed with, but there in diffusers' model and therefore in its adapters.
  FrozenLinear unused_context_q;

  // Those that an adapter may change, in the order of an adapter's layout. Absent ones have no weight.
  std::vector<const FrozenLinear*> AdaptableLinears() const;
};

struct Transformer::Weights {
  TransformerConfig config;
  std::optional<ModelFingerprint> fingerprint;
  FrozenLinear patch_projection;  // [inner, channels * patch * patch]
  at::Tensor positions;           // [pos_embed_max_size, pos_embed_max_size, inner]
  FrozenLinear timestep_in, timestep_out;
  FrozenLinear pooled_in, pooled_out;
  FrozenLinear context_embedder;
  // Every AdaLN projection of the model, stacked in the order of use: they all read the same conditioning.
  FrozenLinear modulation;
  std::vector<JointBlock> blocks;
  FrozenLinear proj_out;

  // Takes every tensor that `config` calls for.
  void Bind(WeightBinder& binder);

  // The layers that a LoRA may adapt, in a fixed order.
  std::vector<const FrozenLinear*> AdaptableLinears() const;

  // Every layer that an imported adapter may change: all but norms and the table of positions.
  std::vector<const FrozenLinear*> AllLinears() const;
};

}  // namespace flowawr
