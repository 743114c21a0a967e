// Mask2Former against transformers, part by part: what mask2former_test.cc and mask2former_size_test.cc share.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "reward_server/detection/mask2former.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {

inline constexpr auto kAlways = [] { return absl::OkStatus(); };
inline constexpr char kTransformersClass[] = "transformers Mask2FormerForUniversalSegmentation";

// [batch, tokens, channels] or [batch, height, width, channels] to [batch, channels, height * width].
inline at::Tensor ChannelsFirst(const at::Tensor& x) {
  return (x.dim() == 4 ? x.flatten(1, 2) : x).transpose(1, 2);
}

struct Mask2FormerParts {
  std::map<std::string, at::Tensor> tensors;  // by the reference's names, [batch, channels, height * width]
};

// Every part computed from what the part before it made of the case's pixels.
inline Mask2FormerParts RunParts(const Mask2Former& model, const at::Tensor& pixels, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  Mask2FormerParts parts;
  const Placement placement = TestPlacement(dtype);
  const std::vector<at::Tensor> maps =
      model.backbone().Forward(pixels.to(placement.device, placement.dtype), kAlways).value();
  for (size_t i = 0; i < maps.size(); ++i) parts.tensors[absl::StrCat("map_", i)] = ChannelsFirst(maps[i]);
  const PixelFeatures features = model.pixel_decoder().Forward(maps, kAlways).value();
  for (size_t i = 0; i < features.levels.size(); ++i)
    parts.tensors[absl::StrCat("level_", i)] = ChannelsFirst(features.levels[i]);
  parts.tensors["mask_features"] = ChannelsFirst(model.pixel_decoder().mask_projection()(features.fine));
  const MaskQueries queries = model.Forward(pixels, kAlways).value();
  parts.tensors["class_logits"] = queries.class_logits;
  parts.tensors["mask_logits"] = queries.mask_logits.flatten(2);
  return parts;
}

inline std::string PartName(const std::string& tensor, const std::string& dtype) {
  const std::string part = tensor.starts_with("map_")     ? "backbone's maps"
                           : tensor.starts_with("level_") ? "pixel decoder's levels"
                           : tensor == "mask_features"    ? "mask features"
                           : tensor == "class_logits"     ? "class logits"
                                                          : "mask logits";
  return absl::StrCat("Mask2Former ", part, ", ", dtype);
}

inline void ExpectMask2FormerParity(const std::string& folder, const std::string& name, bool is_slow) {
  const auto model = Mask2Former::Load(folder, TestPlacement(at::kFloat));
  ASSERT_TRUE(model.ok()) << model.status();
  const auto file = SafetensorsFile::Open(folder + "/case.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& expected = file->tensors();
  const std::string sizes =
      is_slow ? "Swin-S, 100 queries, 224x320 pixels" : "3 random ones, 4 stages, 64x96 to 96x160 pixels";
  for (const auto& [key, tensor] : RunParts(**model, expected.at("pixels"), at::kFloat).tensors) {
    const ParityCheck check = {PartName(key, "f32"), sizes, kTransformersClass, is_slow};
    const std::string which = absl::StrCat(name, " ", key);
    const at::Tensor right = expected.at(key).dim() == 4 ? expected.at(key).flatten(2) : expected.at(key);
    if (key != "class_logits" && key != "mask_logits") {
      ExpectAtMost(check, which, "relative error", RelativeError(tensor, right), 2e-5);
      continue;
    }
    // Where a query attends is cut at 0. Of the half a million places of the true size one or two are so near to it that
    // rounding carries them over, which moves their query by a thousandth and the others by less.
    ExpectAtMost(check, which, "relative error", RelativeError(tensor, right), is_slow ? 5e-4 : 1e-4);
  }
}

// In low precision many are carried over it, so logits are compared in f32 alone.
inline void ExpectMask2FormerBf16Parity(const std::string& folder, const std::string& name) {
  const auto model = Mask2Former::Load(folder, TestPlacement(at::kBFloat16));
  ASSERT_TRUE(model.ok()) << model.status();
  const auto file = SafetensorsFile::Open(folder + "/case.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& expected = file->tensors();
  // Together, or luck decides: the smallest maps have a few pixels.
  std::map<std::string, std::pair<double, double>> distances;
  for (const auto& [key, tensor] : RunParts(**model, expected.at("pixels"), at::kBFloat16).tensors) {
    if (key == "class_logits" || key == "mask_logits") continue;
    const at::Tensor exact = expected.at(key).flatten(2);
    auto& [ours, theirs] = distances[PartName(key, "bf16")];
    ours += RelativeError(tensor, exact);
    theirs += RelativeError(expected.at(key + "_bf16").flatten(2), exact);
  }
  for (const auto& [part, both] : distances)
    ExpectNoFurther({part, "3 random ones, 4 stages, 64x96 to 96x160 pixels", kTransformersClass}, name, both.first,
                    both.second);
}

}  // namespace flowawr
