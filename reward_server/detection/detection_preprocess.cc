#include "reward_server/detection/detection_preprocess.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostEdge = 8192;

// Three numbers; absent or null: as it is.
absl::Status ReadChannels(const Json& json, const std::string& path, const char* field, double min,
                          std::array<double, 3>& values) {
  const auto found = json.find(field);
  if (found == json.end() || found->is_null()) return absl::OkStatus();
  const auto fits = [min](const Json& value) { return value.is_number() && value.get<double>() >= min; };
  if (!found->is_array() || found->size() != 3 || !std::all_of(found->begin(), found->end(), fits))
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", field, " must be 3 numbers; it is ", found->dump()));
  for (size_t i = 0; i < 3; ++i) values[i] = (*found)[i].get<double>();
  return absl::OkStatus();
}

// mmcv's rescale_size().
std::pair<int64_t, int64_t> ResizedSides(int64_t height, int64_t width, const DetectionPreprocess& preprocess) {
  const double factor = std::min(static_cast<double>(preprocess.long_edge) / std::max(height, width),
                                 static_cast<double>(preprocess.short_edge) / std::min(height, width));
  const auto side = [factor](int64_t length) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(length) * factor + 0.5));
  };
  return {side(height), side(width)};
}

}  // namespace

absl::StatusOr<DetectionPreprocess> LoadDetectionPreprocess(const std::string& folder) {
  DetectionPreprocess preprocess;
  const std::string path = folder + "/preprocessor_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return preprocess;
  FLOWAWR_ASSIGN_OR_RETURN(const Json json, ReadStrictJson(path));
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json.dump(), path));
  preprocess.do_resize = fields.Bool("do_resize", preprocess.do_resize);
  preprocess.divisor = fields.Int("size_divisor", preprocess.divisor, 1, 1024);
  fields.Require(fields.Bool("do_normalize", true), "do_normalize must be true");
  fields.Require(fields.Bool("do_rescale", true), "do_rescale must be true");
  constexpr double kRescale = 1.0 / 255;
  fields.Require(std::abs(fields.Number("rescale_factor", kRescale) - kRescale) < 1e-6, "rescale_factor must be 1/255");
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  if (const Json size = json.value("size", Json()); size.is_object() && size.contains("shortest_edge")) {
    FLOWAWR_ASSIGN_OR_RETURN(ConfigFields edges, ConfigFields::Parse(size.dump(), path + ": size"));
    preprocess.short_edge = edges.Int("shortest_edge", preprocess.short_edge, 1, kMostEdge);
    const int64_t long_edge = std::max(preprocess.long_edge, preprocess.short_edge);
    preprocess.long_edge = edges.Int("longest_edge", long_edge, preprocess.short_edge, kMostEdge);
    FLOWAWR_RETURN_IF_ERROR(edges.Finish());
  }
  FLOWAWR_RETURN_IF_ERROR(ReadChannels(json, path, "image_mean", -1e6, preprocess.mean));
  FLOWAWR_RETURN_IF_ERROR(ReadChannels(json, path, "image_std", 1e-6, preprocess.std));
  return preprocess;
}

DetectionPixels PrepareForDetection(const Image& image, const DetectionPreprocess& preprocess) {
  at::Tensor pixels = at::empty({1, 3, image.height, image.width}, at::kFloat);
  const at::Tensor bytes =
      at::from_blob(const_cast<char*>(image.rgb.data()), {1, image.height, image.width, 3}, at::kByte);
  pixels.copy_(bytes.permute({0, 3, 1, 2}));
  DetectionPixels prepared{.pixels = {}, .height = image.height, .width = image.width};
  if (preprocess.do_resize)
    std::tie(prepared.height, prepared.width) = ResizedSides(image.height, image.width, preprocess);
  if (prepared.height != image.height || prepared.width != image.width)
    pixels = at::upsample_bilinear2d(pixels, {prepared.height, prepared.width}, /*align_corners=*/false).round_();
  for (int64_t c = 0; c < 3; ++c)
    pixels.select(1, c).sub_(preprocess.mean[c] * 255).div_(preprocess.std[c] * 255);
  const auto missing = [divisor = preprocess.divisor](int64_t side) { return (divisor - side % divisor) % divisor; };
  prepared.pixels = at::constant_pad_nd(pixels, {0, missing(prepared.width), 0, missing(prepared.height)});
  return prepared;
}

}  // namespace flowawr
