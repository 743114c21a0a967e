#include "common/clip/clip_preprocess.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/clip/pillow_resize.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

constexpr int64_t kMostAspect = 64;

struct Size {
  int64_t height;
  int64_t width;
};

// Python's int(): towards zero.
Size ShortestEdge(const Image& image, int64_t size) {
  const auto other = [size](int longer, int shorter) {
    return static_cast<int64_t>(static_cast<double>(size * longer) / shorter);
  };
  if (image.height <= image.width) return {size, other(image.width, image.height)};
  return {other(image.height, image.width), size};
}

// Python's round(): halves to even. A picture so thin that nothing would be left of it keeps a pixel.
Size LongestEdge(const Image& image, int64_t size) {
  const double scale = size / static_cast<double>(std::max(image.height, image.width));
  const auto scaled = [scale](int edge) { return std::max<int64_t>(1, std::llrint(edge * scale)); };
  return {scaled(image.height), scaled(image.width)};
}

// [3, H, W], values from 0 to 255.
at::Tensor Levels(const Image& image) {
  const at::Tensor bytes = at::from_blob(const_cast<char*>(image.rgb.data()), {image.height, image.width, 3}, at::kByte);
  return bytes.permute({2, 0, 1}).to(at::kFloat);
}

at::Tensor Middle(const at::Tensor& x, Size first, int64_t size) {
  return x.slice(1, first.height, first.height + size).slice(2, first.width, first.width + size);
}

at::Tensor Normalise(const at::Tensor& unit) {
  static const at::Tensor mean = at::tensor({0.48145466f, 0.4578275f, 0.40821073f}).view({3, 1, 1});
  static const at::Tensor deviation = at::tensor({0.26862954f, 0.26130258f, 0.27577711f}).view({3, 1, 1});
  return ((unit - mean) / deviation).contiguous();
}

}  // namespace

absl::StatusOr<ClipPreprocess> ClipProcessorOf(const std::string& folder) {
  const std::string path = folder + "/preprocessor_config.json";
  const absl::StatusOr<nlohmann::json> file = ReadStrictJson(path);
  if (absl::IsNotFound(file.status())) return ClipPreprocess::kClipProcessor;
  FLOWAWR_RETURN_IF_ERROR(file.status());
  const nlohmann::json& config = *file;
  if (!config.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": expected an object"));
  const auto crops = config.find("do_center_crop");
  const auto size = config.find("size");
  const bool is_stretched = crops != config.end() && *crops == false && size != config.end() && size->is_object() &&
                            size->contains("height") && size->contains("width");
  return is_stretched ? ClipPreprocess::kStretched : ClipPreprocess::kClipProcessor;
}

absl::StatusOr<at::Tensor> ClipPixels(const Image& image, ClipPreprocess preprocess, int64_t size) {
  FLOWAWR_RETURN_IF_ERROR(ValidateImage(image));
  const int64_t longer = std::max(image.height, image.width), shorter = std::min(image.height, image.width);
  if (shorter < 1) return absl::InvalidArgumentError("the image has no pixels");
  if (longer > kMostAspect * shorter)
    return absl::InvalidArgumentError(absl::StrCat("an image of ", image.width, " x ", image.height,
                                                   " pixels is too long and thin: at most ", kMostAspect, " to 1"));
  const at::NoGradGuard no_grad;
  const Size resized =
      preprocess == ClipPreprocess::kTensorLongest ? LongestEdge(image, size) : ShortestEdge(image, size);
  const int64_t rest_height = resized.height - size, rest_width = resized.width - size;
  // torchvision's int(round(rest / 2)).
  const auto half_to_even = [](int64_t rest) { return std::llrint(rest / 2.0); };
  switch (preprocess) {
    case ClipPreprocess::kClipProcessor:
    case ClipPreprocess::kOpenClip: {
      const Image small =
          PillowBicubic(image, static_cast<int>(resized.height), static_cast<int>(resized.width));
      const Size first = preprocess == ClipPreprocess::kClipProcessor
                             ? Size{rest_height / 2, rest_width / 2}
                             : Size{half_to_even(rest_height), half_to_even(rest_width)};
      return Normalise(Middle(Levels(small), first, size) / 255);
    }
    case ClipPreprocess::kTensorShortest: {
      const at::Tensor small = at::_upsample_bilinear2d_aa((Levels(image) / 255).unsqueeze(0),
                                                           {resized.height, resized.width}, /*align_corners=*/false)[0];
      return Normalise(Middle(small, {half_to_even(rest_height), half_to_even(rest_width)}, size));
    }
    case ClipPreprocess::kTensorLongest: {
      const at::Tensor small = at::_upsample_bicubic2d_aa((Levels(image) / 255).unsqueeze(0),
                                                          {resized.height, resized.width}, /*align_corners=*/false)[0];
      at::Tensor page = at::zeros({3, size, size});
      page.slice(1, -rest_height / 2, -rest_height / 2 + resized.height)
          .slice(2, -rest_width / 2, -rest_width / 2 + resized.width)
          .copy_(small);
      return Normalise(page);
    }
    case ClipPreprocess::kStretched: {
      const auto edge = static_cast<int>(size);
      return Normalise(Levels(PillowBicubic(image, edge, edge)) / 255);
    }
  }
  return absl::InternalError("unknown preprocessing");
}

}  // namespace flowawr
