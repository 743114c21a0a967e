// What a published Mask2Former is made of: the config.json of transformers' Mask2FormerForUniversalSegmentation with a
// Swin backbone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Four stages, each at half the resolution of the one before and twice as wide; patches of 4 x 4 pixels.
struct SwinConfig {
  static constexpr int64_t kPatch = 4;
  static constexpr size_t kStages = 4;

  int64_t num_channels = 3;
  int64_t embed_dim = 96;
  std::vector<int64_t> depths = {2, 2, 6, 2};
  std::vector<int64_t> num_heads = {3, 6, 12, 24};
  int64_t window_size = 7;
  double mlp_ratio = 4;
  bool qkv_bias = true;
  double layer_norm_eps = 1e-5;

  int64_t Channels(size_t stage) const { return embed_dim << stage; }
  int64_t Hidden(size_t stage) const { return static_cast<int64_t>(mlp_ratio * static_cast<double>(Channels(stage))); }
};

struct Mask2FormerConfig {
  static constexpr int64_t kLevels = 3;   // feature maps that are attended to: 1/32, 1/16, 1/8 of the image
  static constexpr int64_t kPoints = 4;   // that a head samples in each
  static constexpr int64_t kGroups = 32;  // of the group norms

  SwinConfig backbone;
  int64_t feature_size = 256;
  int64_t mask_feature_size = 256;
  int64_t hidden_dim = 256;
  int64_t encoder_feedforward_dim = 1024;
  int64_t dim_feedforward = 2048;
  int64_t encoder_layers = 6;
  int64_t decoder_layers = 10;  // one more than there are: the queries before the first count as one
  int64_t num_attention_heads = 8;
  int64_t num_queries = 100;
  bool enforce_input_projection = false;
  std::vector<std::string> class_names;  // by label; "no object" is one more

  bool HasInputProjection() const { return enforce_input_projection || feature_size != hidden_dim; }
};

// InvalidArgument, with everything that is wrong: what this code does not compute (other activations, strides, norms
// first), sizes that do not divide, labels that are not 0 to n - 1. Unknown fields are passed over: published files
// hold many that change nothing, and every size is checked against the weights.
absl::StatusOr<Mask2FormerConfig> ParseMask2FormerConfig(absl::string_view json, const std::string& name_for_errors);

}  // namespace flowawr
