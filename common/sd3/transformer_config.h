// The fields of a diffusers SD3Transformer2DModel's config.json.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct TransformerConfig {
  int64_t sample_size = 128;
  int64_t patch_size = 2;
  int64_t in_channels = 16;
  int64_t out_channels = 16;
  int64_t num_layers = 18;
  int64_t attention_head_dim = 64;
  int64_t num_attention_heads = 18;
  int64_t joint_attention_dim = 4096;
  int64_t caption_projection_dim = 1152;
  int64_t pooled_projection_dim = 2048;
  int64_t pos_embed_max_size = 96;
  bool has_qk_norm = false;                 // qk_norm: "rms_norm"
  std::set<int64_t> dual_attention_layers;  // MMDiT-X: blocks whose image stream also attends to itself alone

  int64_t inner_dim() const { return num_attention_heads * attention_head_dim; }
  bool IsDual(int64_t block) const { return dual_attention_layers.contains(block); }

  // The fields that change the result, in a canonical text: what a model fingerprint covers.
  std::string Canonical() const;
};

// Absent fields take diffusers' defaults. InvalidArgument for a field of the wrong type, an inconsistent size, or a
// field that this code does not know (it might change the maths); names beginning with `_` are notes and are ignored.
absl::StatusOr<TransformerConfig> ParseTransformerConfig(absl::string_view json, const std::string& name_for_errors);

}  // namespace flowawr
