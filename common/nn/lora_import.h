// LoRA adapters that others made: any rank and alpha, which may differ from module to module, on any linear layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

struct ImportedLoraModule {
  std::string name;  // as in the diffusers model: "transformer_blocks.0.attn.to_q"
  at::Tensor A;      // [rank, in_features] f32; of a convolution, in_features are those of one window
  at::Tensor B;      // [out_features, rank] f32
  double alpha = 0;  // rank-stabilised adapters: alpha * sqrt(rank), so that the scale is always alpha / rank

  int64_t rank() const { return A.size(0); }
  double scale() const { return alpha / static_cast<double>(rank()); }
};

struct ImportedLora {
  std::string source;                       // the file, for messages
  std::vector<ImportedLoraModule> modules;  // by name; never empty
  std::vector<std::string> stripped;        // what trainers put into the names and was left out: "_orig_mod."; by name
};

// Reads, as peft and diffusers would:
// - a PEFT folder (adapter_config.json and adapter_model.safetensors) or the weights file in it;
// - a diffusers file, or the folder that holds one: pytorch_lora_weights.safetensors, else its only .safetensors file.
//   Its lora_adapter_metadata counts, else ".alpha" tensors, else alpha is the rank;
// - the adapter file of a checkpoint of this project. Files of before they told their alpha need `alpha_if_untold`.
//
// Names may carry what wrappers and trainers are known to add, see lora_names.h: it is left out, and one line in the
// log says so. NotFound where nothing of the kind is. InvalidArgument lists all that does not fit: other kinds of
// adapters, biases, adapters of text encoders, matrices without their partner, ranks that contradict one another or the
// configuration, numbers that are not finite.
absl::StatusOr<ImportedLora> ReadLora(const std::string& path, std::optional<double> alpha_if_untold = std::nullopt);

// One summand of a merged weight.
struct LoraTerm {
  const ImportedLoraModule* module = nullptr;
  double scale = 1;  // beside the module's own
};

// weight [out, ...] + sum of scale * alpha / rank * B A, computed and returned in f32 where the weight is.
at::Tensor MergedWeight(const at::Tensor& weight, const std::vector<LoraTerm>& terms);

}  // namespace flowawr
