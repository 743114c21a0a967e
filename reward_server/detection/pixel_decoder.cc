#include "reward_server/detection/pixel_decoder.h"

#include <torch/types.h>

#include <numbers>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "reward_server/detection/detection_attention.h"

namespace flowawr {
namespace {

constexpr int64_t kLevels = Mask2FormerConfig::kLevels;
constexpr at::MemoryFormat kChannelsLast = at::MemoryFormat::ChannelsLast;

// [count, dim] of one axis.
at::Tensor AxisPositions(int64_t count, int64_t dim, const at::TensorOptions& options) {
  constexpr double kTemperature = 10000, kEpsilon = 1e-6;
  const at::Tensor place = at::arange(1, count + 1, options) / (count + kEpsilon) * (2 * std::numbers::pi);
  const at::Tensor exponent = 2 * at::arange(dim, options).div(2, "floor") / dim;
  const at::Tensor angles = place.unsqueeze(1) / at::pow(kTemperature, exponent);
  const at::Tensor even = angles.slice(1, 0, std::nullopt, 2), odd = angles.slice(1, 1, std::nullopt, 2);
  return at::stack({even.sin(), odd.cos()}, 2).flatten(1);
}

}  // namespace

at::Tensor SinePositions(int64_t height, int64_t width, int64_t dim, const at::TensorOptions& options) {
  const at::TensorOptions wide = options.dtype(at::kFloat);
  const at::Tensor y = AxisPositions(height, dim / 2, wide).unsqueeze(1).expand({height, width, dim / 2});
  const at::Tensor x = AxisPositions(width, dim / 2, wide).unsqueeze(0).expand({height, width, dim / 2});
  return at::cat({y, x}, 2).view({height * width, dim}).to(options.dtype());
}

PixelDecoder PixelDecoder::Bind(const Mask2FormerConfig& config, const std::string& prefix, WeightBinder& binder) {
  LayerBinder layers(binder);
  PixelDecoder decoder;
  decoder.config_ = config;
  const int64_t dim = config.feature_size;
  for (int64_t l = 0; l < kLevels; ++l) {
    const std::string name = absl::StrCat(prefix, "input_projections.", l);
    decoder.inputs_.push_back(
        layers.TakePointwise(name + ".0", config.backbone.Channels(SwinConfig::kStages - 1 - l), dim));
    decoder.input_norms_.push_back(layers.TakeGroupNorm(name + ".1", dim, Mask2FormerConfig::kGroups));
  }
  decoder.level_embed_ = layers.Take(prefix + "level_embed", {kLevels, dim});
  const int64_t samples = config.num_attention_heads * kLevels * Mask2FormerConfig::kPoints;
  for (int64_t i = 0; i < config.encoder_layers; ++i) {
    const std::string name = absl::StrCat(prefix, "encoder.layers.", i, ".");
    const std::string attention = name + "self_attn.";
    decoder.layers_.push_back(
        {.value = layers.TakeLinear(attention + "value_proj", dim, dim),
         .projection = layers.TakeStacked(
             {{attention + "sampling_offsets", 2 * samples}, {attention + "attention_weights", samples}}, dim),
         .out = layers.TakeLinear(attention + "output_proj", dim, dim),
         .norm_attention = layers.TakeLayerNorm(name + "self_attn_layer_norm", dim),
         .norm_out = layers.TakeLayerNorm(name + "final_layer_norm", dim),
         .feed_forward = {layers.TakeLinear(name + "fc1", dim, config.encoder_feedforward_dim),
                          layers.TakeLinear(name + "fc2", config.encoder_feedforward_dim, dim)}});
  }
  decoder.lateral_ = layers.TakePointwise(prefix + "adapter_1.0", config.backbone.Channels(0), dim, /*has_bias=*/false);
  decoder.lateral_norm_ = layers.TakeGroupNorm(prefix + "adapter_1.1", dim, Mask2FormerConfig::kGroups);
  decoder.fine_weight_ = layers.Take(prefix + "layer_1.0.weight", {dim, dim, 3, 3});
  if (decoder.fine_weight_.defined()) decoder.fine_weight_ = decoder.fine_weight_.contiguous(kChannelsLast);
  decoder.fine_norm_ = layers.TakeGroupNorm(prefix + "layer_1.1", dim, Mask2FormerConfig::kGroups);
  decoder.mask_projection_ = layers.TakePointwise(prefix + "mask_projection", dim, config.mask_feature_size);
  return decoder;
}

absl::StatusOr<PixelFeatures> PixelDecoder::Forward(const std::vector<at::Tensor>& maps, KeepGoing keep_going) const {
  PixelFeatures features;
  std::vector<at::Tensor> tokens, positions;
  for (int64_t l = 0; l < kLevels; ++l) {
    const at::Tensor& map = maps[maps.size() - 1 - l];
    features.sizes.emplace_back(map.size(1), map.size(2));
    tokens.push_back(input_norms_[l](inputs_[l](map)).flatten(1, 2));
    positions.push_back(SinePositions(map.size(1), map.size(2), config_.feature_size, map.options()) + level_embed_[l]);
  }
  at::Tensor x = at::cat(tokens, 1);
  const at::Tensor position = at::cat(positions);
  const SamplingOptions sampling{
      .levels = features.sizes, .heads = config_.num_attention_heads, .points = Mask2FormerConfig::kPoints};
  for (const Layer& layer : layers_) {
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    const at::Tensor sampled = SampleDeformably(layer.value(x), layer.projection(x + position), sampling);
    x = layer.norm_attention(layer.out(sampled).add_(x));
    x = layer.norm_out(layer.feed_forward(x).add_(x));
  }
  int64_t first = 0;
  for (const auto& [height, width] : features.sizes) {
    features.levels.push_back(x.narrow(1, first, height * width).contiguous());
    first += height * width;
  }
  FLOWAWR_RETURN_IF_ERROR(keep_going());
  const at::Tensor& map = maps.front();
  const auto [height, width] = features.sizes.back();
  const at::Tensor coarse = features.levels.back().view({map.size(0), height, width, -1}).permute({0, 3, 1, 2});
  at::Tensor sum = at::upsample_bilinear2d(coarse, {map.size(1), map.size(2)}, /*align_corners=*/false);
  sum = sum.contiguous(kChannelsLast).add_(lateral_norm_(lateral_(map)).permute({0, 3, 1, 2}));
  const at::Tensor fine = Convolution(sum, fine_weight_, {}, /*stride=*/1, /*padding=*/1);
  features.fine = fine_norm_(fine.permute({0, 2, 3, 1}).contiguous()).relu_();
  return features;
}

}  // namespace flowawr
