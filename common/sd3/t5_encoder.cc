#include "common/sd3/t5_encoder.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/products.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/config_fields.h"
#include "common/sd3/text_activation.h"
#include "common/tensor/transfer.h"

namespace flowawr {

absl::StatusOr<T5Config> ParseT5Config(absl::string_view json, const std::string& name_for_errors) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name_for_errors));
  T5Config config;
  config.vocab_size = fields.Int("vocab_size", config.vocab_size);
  config.d_model = fields.Int("d_model", config.d_model);
  config.d_kv = fields.Int("d_kv", config.d_kv);
  config.d_ff = fields.Int("d_ff", config.d_ff);
  config.num_layers = fields.Int("num_layers", config.num_layers, 1, 1024);
  config.num_heads = fields.Int("num_heads", config.num_heads, 1, 4096);
  config.relative_attention_num_buckets =
      fields.Int("relative_attention_num_buckets", config.relative_attention_num_buckets, 4, 65536);
  config.relative_attention_max_distance =
      fields.Int("relative_attention_max_distance", config.relative_attention_max_distance, 2);
  config.layer_norm_epsilon = fields.Number("layer_norm_epsilon", config.layer_norm_epsilon, 0);
  const std::string projection = fields.String("feed_forward_proj", "relu");
  config.is_gated = absl::StartsWith(projection, "gated-");
  config.activation = std::string(absl::StripPrefix(projection, "gated-"));
  if (projection == "gated-gelu") config.activation = "gelu_new";  // as transformers reads it
  fields.Require(TextActivationByName(config.activation) != nullptr,
                 absl::StrCat("feed_forward_proj \"", projection, "\" is not known"));
  fields.Require(config.relative_attention_max_distance > config.relative_attention_num_buckets / 4,
                 "relative_attention_max_distance must exceed a quarter of relative_attention_num_buckets");
  // Both are written out for readers of the file, but transformers would follow them.
  const std::string dense_act_fn = fields.String("dense_act_fn", config.activation);
  const bool is_gated_act = fields.Bool("is_gated_act", config.is_gated);
  fields.Require(dense_act_fn == config.activation && is_gated_act == config.is_gated,
                 absl::StrCat("dense_act_fn or is_gated_act contradicts feed_forward_proj \"", projection, "\""));
  fields.RequireArchitecture("T5EncoderModel", "t5");
  // Of the decoder alone.
  for (const char* field : {"num_decoder_layers", "scale_decoder_outputs", "n_positions"}) fields.Ignore(field);
  fields.IgnoreTransformersNotes();
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

at::Tensor T5RelativeBuckets(int64_t length, int64_t num_buckets, int64_t max_distance) {
  const at::Tensor positions = at::arange(length, at::kLong);
  const at::Tensor relative = positions.unsqueeze(0) - positions.unsqueeze(1);  // key - query
  const int64_t half = num_buckets / 2, max_exact = half / 2;
  const at::Tensor distance = relative.abs();
  const at::Tensor scaled = at::log(distance.to(at::kFloat) / max_exact) /
                            std::log(static_cast<double>(max_distance) / max_exact) * (half - max_exact);
  // Distance 0 gives -inf, which the small branch replaces; it must not be converted.
  const at::Tensor large = (scaled.clamp_min(0).to(at::kLong) + max_exact).clamp_max(half - 1);
  return (relative > 0).to(at::kLong) * half + at::where(distance < max_exact, distance, large);
}

absl::StatusOr<std::unique_ptr<const T5Encoder>> T5Encoder::Load(const std::string& folder, Placement placement,
                                                                 ReadProgress progress) {
  const at::NoGradGuard no_grad;
  auto encoder = std::make_unique<T5Encoder>();
  const std::string config_path = absl::StrCat(folder, "/config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  FLOWAWR_ASSIGN_OR_RETURN(encoder->config_, ParseT5Config(json, config_path));
  const T5Config& config = encoder->config_;
  encoder->activation_ = TextActivationByName(config.activation);
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder, WeightBinder::Open(folder, "model", placement, std::move(progress)));
  // The embedding has two names; where both are there they are one tensor.
  const bool has_shared = binder.Has("shared.weight");
  if (has_shared) binder.Ignore("encoder.embed_tokens.weight");
  const int64_t width = config.d_model, inner = config.num_heads * config.d_kv;
  encoder->embedding_ =
      binder.Take(has_shared ? "shared.weight" : "encoder.embed_tokens.weight", {config.vocab_size, width});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string attention = absl::StrCat("encoder.block.", i, ".layer.0.");
    const std::string feed_forward = absl::StrCat("encoder.block.", i, ".layer.1.");
    const std::string dense = feed_forward + "DenseReluDense.";
    Layer layer;
    layer.norm1 = binder.Take(attention + "layer_norm.weight", {width});
    layer.q = binder.Take(attention + "SelfAttention.q.weight", {inner, width});
    layer.k = binder.Take(attention + "SelfAttention.k.weight", {inner, width});
    layer.v = binder.Take(attention + "SelfAttention.v.weight", {inner, width});
    layer.o = binder.Take(attention + "SelfAttention.o.weight", {width, inner});
    layer.norm2 = binder.Take(feed_forward + "layer_norm.weight", {width});
    layer.wi_0 = binder.Take(dense + (config.is_gated ? "wi_0.weight" : "wi.weight"), {config.d_ff, width});
    if (config.is_gated) layer.wi_1 = binder.Take(dense + "wi_1.weight", {config.d_ff, width});
    layer.wo = binder.Take(dense + "wo.weight", {width, config.d_ff});
    encoder->layers_.push_back(std::move(layer));
  }
  encoder->relative_bias_ = binder.Take("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                                        {config.relative_attention_num_buckets, config.num_heads});
  encoder->final_norm_ = binder.Take("encoder.final_layer_norm.weight", {width});
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  return encoder;
}

at::Tensor T5Encoder::Normed(const at::Tensor& weight, const at::Tensor& hidden) const {
  const at::Tensor variance = hidden.to(at::kFloat).square().mean(-1, /*keepdim=*/true);
  return weight * (hidden * at::rsqrt(variance + config_.layer_norm_epsilon)).to(weight.scalar_type());
}

at::Tensor T5Encoder::ForwardLayer(const Layer& layer, const at::Tensor& hidden, const at::Tensor& bias) const {
  const int64_t batch = hidden.size(0), length = hidden.size(1);
  auto heads = [&](const at::Tensor& weight, const at::Tensor& x) {
    return AffineProduct(x, weight).view({batch, length, config_.num_heads, config_.d_kv}).transpose(1, 2);
  };
  const at::Tensor x = Normed(layer.norm1, hidden);
  const at::Tensor attended =
      Attention(heads(layer.q, x), heads(layer.k, x), heads(layer.v, x), {.bias = bias, .scale = 1.0});
  const at::Tensor middle = hidden + AffineProduct(attended.transpose(1, 2).reshape({batch, length, -1}), layer.o);
  const at::Tensor y = Normed(layer.norm2, middle);
  at::Tensor inner = activation_(AffineProduct(y, layer.wi_0));
  if (config_.is_gated) inner = inner * AffineProduct(y, layer.wi_1);
  return middle + AffineProduct(inner, layer.wo);
}

at::Tensor T5Encoder::Buckets(int64_t length) const {
  const absl::MutexLock lock(&mutex_);
  if (!buckets_.defined() || buckets_.size(0) != length) {
    // Computed on the host, so that no device rounds a distance into another bucket.
    buckets_ = MovedTo(T5RelativeBuckets(length, config_.relative_attention_num_buckets,
                                         config_.relative_attention_max_distance),
                       relative_bias_.device());
  }
  return buckets_;
}

at::Tensor T5Encoder::Forward(const at::Tensor& ids) const {
  const at::NoGradGuard no_grad;
  const at::Tensor bias = at::embedding(relative_bias_, Buckets(ids.size(1))).permute({2, 0, 1}).unsqueeze(0);
  at::Tensor hidden = at::embedding(embedding_, ids);
  for (const Layer& layer : layers_) hidden = ForwardLayer(layer, hidden, bias);
  return Normed(final_norm_, hidden);
}

}  // namespace flowawr
