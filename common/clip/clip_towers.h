// CLIP's two towers, their weights bound, one picture or text at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/clip/clip_config.h"
#include "common/clip/clip_transformer.h"

namespace flowawr {

// Both are immutable once bound (clip_weights.h); then thread-safe. No gradients.

struct ClipVisionTower {
  // `pixels` [3, image_size, image_size] f32 to [1, projection_dim] in the tower's type: the class token's state,
  // normalised and projected.
  absl::StatusOr<at::Tensor> Forward(const at::Tensor& pixels, KeepGoing keep_going = kToTheEnd) const;

  ClipVisionConfig config;
  at::Tensor class_embedding;     // [1, width]
  at::Tensor patch_embedding;     // [width, 3, patch_size, patch_size]
  at::Tensor position_embedding;  // [tokens, width]
  ClipNorm norm_before, norm_after;
  ClipTransformer transformer;
  at::Tensor projection;  // [projection_dim, width]
};

struct ClipTextTower {
  // `ids`, at most max_tokens of them, each below vocab_size, to [1, projection_dim]: the state of the pooled token (see
  // ClipTextTowerConfig::eos_token_id), normalised and projected. What stands after that token is of no importance.
  absl::StatusOr<at::Tensor> Forward(absl::Span<const int64_t> ids, KeepGoing keep_going = kToTheEnd) const;

  // Where the pooled token is.
  int64_t PooledToken(absl::Span<const int64_t> ids) const;

  ClipTextTowerConfig config;
  at::Tensor token_embedding;     // [vocab_size, width]
  at::Tensor position_embedding;  // [max_tokens, width]
  ClipTransformer transformer;
  ClipNorm final_norm;
  at::Tensor projection;  // [projection_dim, width]
};

}  // namespace flowawr
