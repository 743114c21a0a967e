// What a CLIP model is made of, read from the configuration of either published layout.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/clip_text_encoder.h"

namespace flowawr {

enum class ClipLayout { kHf, kOpenClip };

// The vision tower's layers, which normalise first (pre-norm).
struct ClipTransformerConfig {
  int64_t width = 0;
  int64_t inner = 0;  // of the MLP
  int64_t layers = 0;
  int64_t heads = 0;
  double norm_epsilon = 1e-5;
  std::string activation = "quick_gelu";  // or "gelu", the exact one; by transformers' names
};

struct ClipVisionConfig {
  ClipTransformerConfig transformer;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  int64_t tokens() const { return 1 + (image_size / patch_size) * (image_size / patch_size); }
};

struct ClipConfig {
  ClipLayout layout = ClipLayout::kHf;
  ClipVisionConfig vision;
  ClipTextConfig text;  // OpenCLIP's, too: its pooled token is the one with the highest id
  int64_t projection_dim = 512;
};

// config.json of transformers' CLIPModel; absent fields take its defaults. InvalidArgument, beginning with `name`, for
// another class, a field of the wrong type, an unknown activation, or a field that this code does not know (it might
// change the maths).
absl::StatusOr<ClipConfig> ParseHfClipConfig(absl::string_view json, const std::string& name);

// open_clip_config.json: {"model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}, "preprocess_cfg"}. Vision
// transformers and CLIP's own text transformer; InvalidArgument for what else OpenCLIP has.
absl::StatusOr<ClipConfig> ParseOpenClipConfig(absl::string_view json, const std::string& name);

}  // namespace flowawr
