// Pictures as Mask2Former takes them: mmdet's test pipeline, which GenEval's figures were made with.
//
// Resized to fit two edges with the proportions kept, bilinear without antialiasing and rounded to bytes (OpenCV's
// INTER_LINEAR to within a level), normalised, and filled up with zeros below and on the right to a multiple of the
// divisor. transformers' image processor differs where a picture is made smaller (it antialiases) and by a pixel in
// some sizes (it rounds the longer edge down).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/tensor/image.h"

namespace flowawr {

struct DetectionPreprocess {
  bool do_resize = true;
  int64_t short_edge = 800;  // what the shorter edge becomes, unless the longer would exceed
  int64_t long_edge = 1333;
  int64_t divisor = 32;
  std::array<double, 3> mean = {0.485, 0.456, 0.406};  // of values in [0, 1]
  std::array<double, 3> std = {0.229, 0.224, 0.225};
};

// What preprocessor_config.json of a published folder says, where it says so: do_resize, size {shortest_edge,
// longest_edge}, size_divisor, image_mean, image_std. A size of another form (published folders have {height, width},
// which squeezes pictures) is passed over: the edges stay GenEval's. Without the file, the defaults. InvalidArgument
// for what is of the wrong type, or asks for pixels that are not rescaled by 1 / 255 or not normalised.
absl::StatusOr<DetectionPreprocess> LoadDetectionPreprocess(const std::string& folder);

struct DetectionPixels {
  at::Tensor pixels;  // [1, 3, padded height, padded width] f32
  int64_t height = 0;  // of the picture therein
  int64_t width = 0;
};

// `image` is valid (ValidateImage()) with positive sides.
DetectionPixels PrepareForDetection(const Image& image, const DetectionPreprocess& preprocess);

}  // namespace flowawr
