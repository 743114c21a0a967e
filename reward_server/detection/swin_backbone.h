// The Swin transformer as a backbone: transformers' SwinBackbone.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/detection/layers.h"
#include "reward_server/detection/mask2former_config.h"

namespace flowawr {

// Plain tensors, immutable once bound; thread-safe, no gradients.
class SwinBackbone {
 public:
  // `prefix` ends with a dot, e.g. "model.pixel_level_module.encoder.". The names are the published ones ("attention.
  // self.query"), which transformers 5 writes, too, though its modules are called otherwise.
  static SwinBackbone Bind(const SwinConfig& config, const std::string& prefix, WeightBinder& binder);

  // `pixels` [batch, 3, height, width], normalised, in the weights' type. Four maps with the channels last,
  // [batch, ceil(height / s), ceil(width / s), embed_dim * s / 4] for s = 4, 8, 16, 32, each normalised.
  absl::StatusOr<std::vector<at::Tensor>> Forward(const at::Tensor& pixels, KeepGoing keep_going) const;

 private:
  struct Block {
    LayerNorm norm_before, norm_after;
    Linear qkv;
    at::Tensor padding;  // queries, keys and values of a token outside the image, whose normalised values are zeros
    at::Tensor window_bias;
    Linear out, fc1, fc2;
    int64_t heads = 1;
    int64_t shift = 0;
  };
  struct Stage {
    std::vector<Block> blocks;
    LayerNorm norm_out;
    LayerNorm merge_norm;  // to the next stage; undefined on the last
    Linear merge;
  };

  static Block BindBlock(const SwinConfig& config, size_t stage, int64_t index, const std::string& name,
                         LayerBinder& layers);
  at::Tensor Run(const Block& block, at::Tensor x) const;

  SwinConfig config_;
  at::Tensor patch_weight_, patch_bias_;
  LayerNorm patch_norm_;
  std::vector<Stage> stages_;
};

}  // namespace flowawr
