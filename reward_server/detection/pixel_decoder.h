// Mask2Former's pixel decoder: feature maps that know of each other by multi-scale deformable attention, and one of a
// fourth of the image's resolution from which masks are made. transformers' Mask2FormerPixelDecoder.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/detection/layers.h"
#include "reward_server/detection/mask2former_config.h"

namespace flowawr {

// Positions as sines and cosines of rows, then of columns: [height * width, dim]. DETR's, from 0 to 2 pi over the
// image.
at::Tensor SinePositions(int64_t height, int64_t width, int64_t dim, const at::TensorOptions& options);

struct PixelFeatures {
  std::vector<at::Tensor> levels;                 // [batch, height * width, feature_size]: 1/32, 1/16, 1/8
  std::vector<std::pair<int64_t, int64_t>> sizes;  // height and width of each level
  at::Tensor fine;  // [batch, height, width, feature_size] at 1/4, before the projection to mask features
};

// Plain tensors, immutable once bound; thread-safe, no gradients.
class PixelDecoder {
 public:
  // `prefix` ends with a dot, e.g. "model.pixel_level_module.decoder.".
  static PixelDecoder Bind(const Mask2FormerConfig& config, const std::string& prefix, WeightBinder& binder);

  // `maps` as SwinBackbone::Forward() gives them.
  absl::StatusOr<PixelFeatures> Forward(const std::vector<at::Tensor>& maps, KeepGoing keep_going) const;

  // From `fine` to the mask features whose product with a query's embedding is its mask. Kept apart because it can be
  // moved into the queries, of which there are few.
  const Linear& mask_projection() const { return mask_projection_; }

 private:
  struct Layer {
    Linear value, projection;  // the latter: offsets and weights of the samples
    Linear out;
    LayerNorm norm_attention, norm_out;
    FeedForward feed_forward;
  };

  Mask2FormerConfig config_;
  std::vector<Linear> inputs_;  // by level
  std::vector<GroupNorm> input_norms_;
  at::Tensor level_embed_;
  std::vector<Layer> layers_;
  Linear lateral_;
  GroupNorm lateral_norm_;
  at::Tensor fine_weight_;  // a convolution of 3 x 3, in memory with the channels last
  GroupNorm fine_norm_;
  Linear mask_projection_;
};

}  // namespace flowawr
