// CLIP's text tower: transformers' CLIPTextModelWithProjection, also as a part of its CLIPModel and of OpenCLIP's CLIP
// (common/clip).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/read_progress.h"
#include "common/tensor/placement.h"

namespace flowawr {

class ConfigFields;
class WeightBinder;

struct ClipTextConfig {
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t projection_dim = 512;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";
  int64_t eos_token_id = 49407;  // 2: an old file; the pooled token is then the one with the highest id
};

// Absent fields take transformers' defaults. InvalidArgument for another class, a field of the wrong type, an unknown
// activation, or a field that this code does not know (it might change the maths).
absl::StatusOr<ClipTextConfig> ParseClipTextConfig(absl::string_view json, const std::string& name_for_errors);

// Reads the same fields from a configuration that the caller has begun to read and goes on with.
void ReadClipTextFields(ConfigFields& fields, ClipTextConfig& config);

struct ClipTextWeights {
  struct Linear {
    at::Tensor weight, bias;
  };
  struct Layer {
    Linear norm1, norm2, q, k, v, out, fc1, fc2;
  };
  at::Tensor token_embedding;     // [vocab_size, hidden_size]
  at::Tensor position_embedding;  // [max_position_embeddings, hidden_size]
  std::vector<Layer> layers;
  Linear final_norm;
  at::Tensor text_projection;  // [projection_dim, hidden_size]
};

// Takes them by transformers' names ("text_model.encoder.layers.0.self_attn.q_proj.weight", "text_projection.weight").
// Complaints are binder.Finish()'s.
ClipTextWeights BindClipText(const ClipTextConfig& config, WeightBinder& binder);

// Frozen, immutable, thread-safe. No gradients.
class ClipTextEncoder {
 public:
  ClipTextEncoder(ClipTextConfig config, ClipTextWeights weights);

  // Reads config.json and model.safetensors (or its shards) of `folder`. InvalidArgument lists all that does not fit.
  static absl::StatusOr<std::unique_ptr<const ClipTextEncoder>> Load(const std::string& folder, Placement placement,
                                                                     ReadProgress progress = nullptr);

  struct Output {
    at::Tensor hidden;  // [B, T, hidden_size]: hidden_states[-2], before the last layer
    at::Tensor pooled;  // [B, projection_dim]: the projected final state at the first end-of-text token
  };
  // `ids` is [B, T] int64 with T <= max_position_embeddings, each below vocab_size.
  Output Forward(const at::Tensor& ids) const;

  const ClipTextConfig& config() const { return config_; }

 private:
  at::Tensor ForwardLayer(const ClipTextWeights::Layer& layer, const at::Tensor& hidden) const;
  at::Tensor Normed(const ClipTextWeights::Linear& norm, const at::Tensor& hidden) const;

  const ClipTextConfig config_;
  at::Tensor (*const activation_)(const at::Tensor&);
  const ClipTextWeights weights_;
};

}  // namespace flowawr
