// CLIP's vision tower.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "common/clip/clip_config.h"
#include "common/clip/clip_transformer.h"

namespace flowawr {

// Immutable once bound (clip_weights.h); then thread-safe. No gradients.
struct ClipVisionTower {
  // `pixels` [pictures, 3, image_size, image_size] f32 to [pictures, projection_dim] in the tower's type: the class
  // token's state, normalised and projected.
  absl::StatusOr<at::Tensor> Forward(const at::Tensor& pixels, KeepGoing keep_going = kToTheEnd) const;

  ClipVisionConfig config;
  at::Tensor class_embedding;     // [1, width]
  at::Tensor patch_embedding;     // [width, 3, patch_size, patch_size]
  at::Tensor position_embedding;  // [tokens, width]
  ClipNorm norm_before, norm_after;
  ClipTransformer transformer;
  at::Tensor projection;  // [projection_dim, width]
};

}  // namespace flowawr
