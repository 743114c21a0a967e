#include "reward_server/detection/mask_decoder.h"

#include <torch/types.h>

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace flowawr {

MaskDecoder MaskDecoder::Bind(const Mask2FormerConfig& config, WeightBinder& binder) {
  LayerBinder layers(binder);
  MaskDecoder decoder;
  decoder.config_ = config;
  const int64_t dim = config.hidden_dim;
  const std::string prefix = "model.transformer_module.";
  if (config.HasInputProjection()) {
    for (int64_t l = 0; l < Mask2FormerConfig::kLevels; ++l)
      decoder.input_projections_.push_back(
          layers.TakePointwise(absl::StrCat(prefix, "input_projections.", l), config.feature_size, dim));
  }
  decoder.level_embed_ = layers.Take(prefix + "level_embed.weight", {Mask2FormerConfig::kLevels, dim});
  decoder.query_positions_ = layers.Take(prefix + "queries_embedder.weight", {config.num_queries, dim});
  decoder.query_features_ = layers.Take(prefix + "queries_features.weight", {config.num_queries, dim});
  for (int64_t i = 0; i + 1 < config.decoder_layers; ++i) {
    const std::string name = absl::StrCat(prefix, "decoder.layers.", i, ".");
    const at::Tensor weight = layers.Take(name + "cross_attn.in_proj_weight", {3 * dim, dim});
    const at::Tensor bias = layers.Take(name + "cross_attn.in_proj_bias", {3 * dim});
    const auto part = [&](int64_t p) {
      if (!weight.defined() || !bias.defined()) return Linear();  // Finish() will name it
      return Linear{weight.narrow(0, p * dim, dim), bias.narrow(0, p * dim, dim)};
    };
    decoder.layers_.push_back(
        {.cross_q = part(0),
         .cross_k = part(1),
         .cross_v = part(2),
         .cross_out = layers.TakeLinear(name + "cross_attn.out_proj", dim, dim),
         .self_qk = layers.TakeStacked({{name + "self_attn.q_proj", dim}, {name + "self_attn.k_proj", dim}}, dim),
         .self_v = layers.TakeLinear(name + "self_attn.v_proj", dim, dim),
         .self_out = layers.TakeLinear(name + "self_attn.out_proj", dim, dim),
         .norm_cross = layers.TakeLayerNorm(name + "cross_attn_layer_norm", dim),
         .norm_self = layers.TakeLayerNorm(name + "self_attn_layer_norm", dim),
         .norm_out = layers.TakeLayerNorm(name + "final_layer_norm", dim),
         .feed_forward = {layers.TakeLinear(name + "fc1", dim, config.dim_feedforward),
                          layers.TakeLinear(name + "fc2", config.dim_feedforward, dim)}});
  }
  decoder.norm_ = layers.TakeLayerNorm(prefix + "decoder.layernorm", dim);
  const std::string mlp = prefix + "decoder.mask_predictor.mask_embedder.";
  for (int i = 0; i < 3; ++i)
    decoder.mask_embed_[i] =
        layers.TakeLinear(absl::StrCat(mlp, i, ".0"), dim, i == 2 ? config.mask_feature_size : dim);
  decoder.classes_ =
      layers.TakeLinear("class_predictor", dim, static_cast<int64_t>(config.class_names.size()) + 1);
  return decoder;
}

absl::StatusOr<MaskQueries> MaskDecoder::Forward(const PixelFeatures& features, const Linear& mask_projection,
                                                 KeepGoing keep_going) const {
  const std::vector<Level> levels = Levels(features);
  const int64_t batch = features.fine.size(0);
  at::Tensor queries = query_features_.expand({batch, -1, -1});
  for (size_t i = 0; i < layers_.size(); ++i) {
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    const Level& level = levels[i % levels.size()];
    queries = Run(layers_[i], queries, level, Masks(norm_(queries), level.pixels, mask_projection));
  }
  const at::Tensor last = norm_(queries);
  return MaskQueries{
      .class_logits = classes_(last),
      .mask_logits = Masks(last, features.fine.flatten(1, 2), mask_projection)
                         .view({batch, config_.num_queries, features.fine.size(1), features.fine.size(2)})};
}

std::vector<MaskDecoder::Level> MaskDecoder::Levels(const PixelFeatures& features) const {
  std::vector<Level> levels;
  const at::Tensor fine = features.fine.permute({0, 3, 1, 2});
  for (size_t l = 0; l < features.levels.size(); ++l) {
    const auto [height, width] = features.sizes[l];
    Level& level = levels.emplace_back();
    level.values = (input_projections_.empty() ? features.levels[l] : input_projections_[l](features.levels[l])) +
                   level_embed_[static_cast<int64_t>(l)];
    level.keys = level.values + SinePositions(height, width, config_.hidden_dim, level.values.options());
    level.pixels = at::upsample_bilinear2d(fine, {height, width}, /*align_corners=*/false)
                       .permute({0, 2, 3, 1})
                       .reshape({fine.size(0), height * width, fine.size(1)});
  }
  return levels;
}

at::Tensor MaskDecoder::Masks(const at::Tensor& queries, const at::Tensor& pixels,
                              const Linear& mask_projection) const {
  at::Tensor embeds = mask_embed_[0](queries).relu_();
  embeds = mask_embed_[1](embeds).relu_();
  embeds = mask_embed_[2](embeds);
  // (W x + b) . e = x . (W^T e) + b . e
  const at::Tensor projected = AffineProduct(embeds, mask_projection.weight.t());
  const at::Tensor offsets = AffineProduct(embeds, mask_projection.bias.unsqueeze(0));
  std::vector<at::Tensor> masks;
  for (int64_t b = 0; b < pixels.size(0); ++b) masks.push_back(AffineProduct(projected[b], pixels[b]));
  return (masks.size() == 1 ? masks[0].unsqueeze(0) : at::stack(masks)).add_(offsets);
}

at::Tensor MaskDecoder::Run(const Layer& layer, at::Tensor queries, const Level& level, const at::Tensor& masks) const {
  // Where a query's mask is empty, it attends everywhere.
  const at::Tensor is_outside = masks.lt(0);
  const at::Tensor is_kept_out = is_outside.logical_and(is_outside.all(-1, /*keepdim=*/true).logical_not());
  const at::Tensor bias = at::zeros_like(masks)
                              .masked_fill_(is_kept_out, -std::numeric_limits<double>::infinity())
                              .unsqueeze(1);
  at::Tensor attended = Attend(layer.cross_q(queries + query_positions_), layer.cross_k(level.keys),
                               layer.cross_v(level.values), bias);
  queries = layer.norm_cross(layer.cross_out(attended).add_(queries));

  const at::Tensor qk = layer.self_qk(queries + query_positions_);
  const int64_t dim = config_.hidden_dim;
  attended = Attend(qk.narrow(2, 0, dim), qk.narrow(2, dim, dim), layer.self_v(queries), std::nullopt);
  queries = layer.norm_self(layer.self_out(attended).add_(queries));
  return layer.norm_out(layer.feed_forward(queries).add_(queries));
}

at::Tensor MaskDecoder::Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const std::optional<at::Tensor>& bias) const {
  const auto heads = [&](const at::Tensor& x) {
    return x.unflatten(2, {config_.num_attention_heads, -1}).transpose(1, 2);
  };
  return Attention(heads(q), heads(k), heads(v), {.bias = bias}).transpose(1, 2).flatten(2);
}

}  // namespace flowawr
