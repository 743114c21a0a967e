// Pictures as CLIP takes them, as the published scorers make them ready: to within the rounding of f32.
//
// Results are [3, size, size] f32, contiguous: (value / 255 - mean) / std with OpenAI's mean and std a channel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/tensor/image.h"

namespace flowawr {

enum class ClipPreprocess {
  // CLIPImageProcessor, OpenAI's and OpenCLIP's transform: the shortest edge to `size` by Pillow's bicubic filter, rounded
  // to bytes, the middle cut out.
  kShortestEdge,
  // The longest edge to `size` by Pillow's bicubic filter, the rest zeros on both sides: HPSv2's ResizeMaxSize.
  kLongestEdge,
  // Both edges to `size` by torch's bilinear filter without antialiasing, on f32 values of [0, 1]: no rounding to bytes.
  kStretch,
};

// InvalidArgument for a picture without pixels.
absl::StatusOr<at::Tensor> ClipPixels(const Image& image, ClipPreprocess preprocess, int64_t size);

}  // namespace flowawr
