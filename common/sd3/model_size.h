// How large a model is, from its configuration alone: the layers of the transformer as they are fused, and how many
// values (weights, biases, norms, tables) each component has. Counted as the loaders bind them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/transformer_config.h"
#include "common/sd3/vae_config.h"

namespace flowawr {

// What a LoRA is put on: lora.rank and lora.target_modules.
struct LoraTargets {
  int64_t rank = 0;
  std::vector<std::string> suffixes;
};

// A fused layer as FrozenLinear, without its weights.
struct LinearSize {
  int64_t in = 0;
  int64_t out = 0;
  int64_t adapted_parts = 0;  // of the layers stacked in it: those that an adapter changes
  int64_t adapted_out = 0;    // the sum of their outputs

  bool is_adapted() const { return adapted_parts > 0; }
  int64_t weights() const { return in * out; }
  int64_t values() const { return in * out + out; }
  // Values of its A and B.
  int64_t LoraValues(int64_t rank) const { return rank * (adapted_parts * in + adapted_out); }
};

// The layers of one block, as JointBlock; absent ones are 0 x 0.
struct BlockSize {
  bool context_pre_only = false;
  bool is_dual = false;
  LinearSize qkv, to_out, ff_in, ff_out;
  LinearSize context_qkv, context_to_out, context_ff_in, context_ff_out;
  LinearSize dual_qkv, dual_to_out;
  LinearSize unused_context_q;

  std::vector<const LinearSize*> Linears() const;
};

BlockSize SizeOfBlock(const TransformerConfig& config, int64_t block, const LoraTargets& lora);

// Outputs of all stacked AdaLN projections.
int64_t ModulationWidth(const TransformerConfig& config);

// Values of an adapter, and of the layers that are copied where it is folded into them.
struct AdapterSize {
  int64_t values = 0;
  int64_t modules = 0;
  int64_t folded_weights = 0;
};
AdapterSize SizeOfAdapter(const TransformerConfig& config, const LoraTargets& lora);

int64_t TransformerValues(const TransformerConfig& config);
int64_t VaeValues(const VaeConfig& config);
int64_t ClipTextValues(const ClipTextConfig& config);
int64_t T5Values(const T5Config& config);

}  // namespace flowawr
