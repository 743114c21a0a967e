// Mask2Former's transformer decoder: queries that attend, layer by layer, only to where their own mask was so far.
// transformers' Mask2FormerTransformerModule and the class head.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/detection/layers.h"
#include "reward_server/detection/mask2former_config.h"
#include "reward_server/detection/pixel_decoder.h"

namespace flowawr {

struct MaskQueries {
  at::Tensor class_logits;  // [batch, queries, classes + 1], the last: no object
  at::Tensor mask_logits;   // [batch, queries, height, width] at 1/4
};

// Plain tensors, immutable once bound; thread-safe, no gradients.
//
// Masks that only say where to attend are computed at the resolution of the attended level: bilinear resizing and the
// product with a query commute, so that is the same mask up to rounding.
class MaskDecoder {
 public:
  static MaskDecoder Bind(const Mask2FormerConfig& config, WeightBinder& binder);

  // `mask_projection` is PixelDecoder's.
  absl::StatusOr<MaskQueries> Forward(const PixelFeatures& features, const Linear& mask_projection,
                                      KeepGoing keep_going) const;

 private:
  struct Layer {
    Linear cross_q, cross_k, cross_v, cross_out;
    Linear self_qk, self_v, self_out;
    LayerNorm norm_cross, norm_self, norm_out;
    FeedForward feed_forward;
  };
  // One level as all layers see it.
  struct Level {
    at::Tensor values;  // [batch, tokens, dim]
    at::Tensor keys;    // the same and where they are
    at::Tensor pixels;  // `fine` at this resolution, [batch, tokens, feature_size]
  };

  std::vector<Level> Levels(const PixelFeatures& features) const;
  // Products with the rows of `pixels` [batch, tokens, feature_size]: [batch, queries, tokens].
  at::Tensor Masks(const at::Tensor& queries, const at::Tensor& pixels, const Linear& mask_projection) const;
  at::Tensor Run(const Layer& layer, at::Tensor queries, const Level& level, const at::Tensor& masks) const;
  // [batch, tokens, dim] to heads and back.
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const std::optional<at::Tensor>& bias) const;

  Mask2FormerConfig config_;
  std::vector<Linear> input_projections_;  // empty: levels are taken as they are
  at::Tensor level_embed_, query_positions_, query_features_;
  std::vector<Layer> layers_;
  LayerNorm norm_;
  Linear mask_embed_[3];
  Linear classes_;
};

}  // namespace flowawr
