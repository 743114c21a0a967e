// Pictures as CLIP takes them, made ready just as the published scorers do it.
//
// Results are [3, size, size] f32, contiguous: (value / 255 - mean) / std with OpenAI's mean and std of each channel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/tensor/image.h"

namespace flowawr {

// A resized edge is truncated to whole pixels in the first of them, rounded in kTensorLongest.
enum class ClipPreprocess {
  // transformers' CLIPImageProcessor on Pillow: the shortest edge to `size` by the bicubic filter in bytes, the middle
  // cut out, of an odd rest the smaller half before it. PickScore and the aesthetic predictor of public trainers.
  kClipProcessor,
  // OpenCLIP's and OpenAI's transform of Pillow images: the same, but of an odd rest the half is rounded to even
  // (torchvision's CenterCrop). GenEval's colours.
  kOpenClip,
  // torchvision's Resize and CenterCrop on f32 values: the shortest edge by the bilinear filter with antialiasing,
  // nothing rounded. CLIPScore of public trainers.
  kTensorShortest,
  // HPSv2's ResizeMaxSize on f32 values: the longest edge to `size` by the bicubic filter with antialiasing (values may
  // leave [0, 1]), black around the middle. A picture whose longest edge is `size` is padded, too.
  kTensorLongest,
  // CLIPImageProcessor without its crop: both edges to `size` by the bicubic filter in bytes, proportions lost. For models
  // that must see all of pictures that are not square. Resized across, then down; Pillow 13 does it the other way round
  // where a picture gets lower by more than twice what it gets narrower, which is another rounding.
  kStretched,
};

// What transformers' processor does with the pictures of this model: kStretched if the folder's preprocessor_config.json
// has do_center_crop false and a size of height and width, else, and without that file, kClipProcessor. InvalidArgument
// for a file that is no JSON object.
absl::StatusOr<ClipPreprocess> ClipProcessorOf(const std::string& folder);

// InvalidArgument for a picture without pixels, or one of more than 64 times as long as wide: resized it would have no
// bounds.
absl::StatusOr<at::Tensor> ClipPixels(const Image& image, ClipPreprocess preprocess, int64_t size);

}  // namespace flowawr
