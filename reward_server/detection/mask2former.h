// Mask2Former for instances, frozen: transformers' Mask2FormerForUniversalSegmentation with a Swin backbone, read from
// a published folder such as facebook/mask2former-swin-small-coco-instance.
//
//   pixels -> SwinBackbone -> four maps -> PixelDecoder -> three levels, fine map -> MaskDecoder -> classes, masks
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/read_progress.h"
#include "common/tensor/placement.h"
#include "reward_server/detection/layers.h"
#include "reward_server/detection/mask2former_config.h"
#include "reward_server/detection/mask_decoder.h"
#include "reward_server/detection/pixel_decoder.h"
#include "reward_server/detection/swin_backbone.h"

namespace flowawr {

// Immutable; safe to call from several threads at once. No gradients. Work is shared out among at::get_num_threads()
// threads of whoever calls.
class Mask2Former {
 public:
  // Reads config.json and model.safetensors (or its shards) of `folder`. NotFound when a file is missing;
  // InvalidArgument that lists every field and tensor that does not fit.
  static absl::StatusOr<std::unique_ptr<const Mask2Former>> Load(const std::string& folder, Placement placement,
                                                                 ReadProgress progress = nullptr);

  // `pixels` [batch, 3, height, width] f32, normalised, of at least 32 x 32. Results on the host, in the weights' type.
  // `keep_going` is asked between layers; its error is returned. Images are run one by one: the bits of one do not depend
  // on the others, which products of several images together could not promise, and an image is enough work for all
  // threads.
  absl::StatusOr<MaskQueries> Forward(const at::Tensor& pixels, KeepGoing keep_going) const;

  const Mask2FormerConfig& config() const { return config_; }
  const SwinBackbone& backbone() const { return backbone_; }
  const PixelDecoder& pixel_decoder() const { return pixel_decoder_; }

  // SHA-256, in hexadecimal, of the weights file; of shards, of the lines "SHA256  NAME\n" in the order of their names.
  const std::string& weights_sha256() const { return weights_sha256_; }
  size_t memory_bytes() const { return memory_bytes_; }  // of the weights

 private:
  Mask2Former() = default;

  Mask2FormerConfig config_;
  Placement placement_;
  SwinBackbone backbone_;
  PixelDecoder pixel_decoder_;
  MaskDecoder mask_decoder_;
  std::string weights_sha256_;
  size_t memory_bytes_ = 0;
};

}  // namespace flowawr
