#include "common/sd3/clip_text_encoder.h"

#include <torch/types.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/products.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/config_fields.h"
#include "common/sd3/text_activation.h"

namespace flowawr {

void ReadClipTextFields(ConfigFields& fields, ClipTextConfig& config) {
  config.vocab_size = fields.Int("vocab_size", config.vocab_size);
  config.hidden_size = fields.Int("hidden_size", config.hidden_size);
  config.intermediate_size = fields.Int("intermediate_size", config.intermediate_size);
  config.projection_dim = fields.Int("projection_dim", config.projection_dim);
  config.num_hidden_layers = fields.Int("num_hidden_layers", config.num_hidden_layers, 1, 1024);
  config.num_attention_heads = fields.Int("num_attention_heads", config.num_attention_heads);
  config.max_position_embeddings = fields.Int("max_position_embeddings", config.max_position_embeddings);
  config.layer_norm_eps = fields.Number("layer_norm_eps", config.layer_norm_eps, 0);
  config.hidden_act = fields.String("hidden_act", config.hidden_act);
  config.eos_token_id = fields.Int("eos_token_id", config.eos_token_id, 0);
  fields.Require(config.hidden_size % config.num_attention_heads == 0,
                 "hidden_size must be a multiple of num_attention_heads");
  fields.Require(TextActivationByName(config.hidden_act) != nullptr,
                 absl::StrCat("hidden_act \"", config.hidden_act, "\" is not known"));
}

absl::StatusOr<ClipTextConfig> ParseClipTextConfig(absl::string_view json, const std::string& name_for_errors) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name_for_errors));
  ClipTextConfig config;
  ReadClipTextFields(fields, config);
  fields.RequireArchitecture("CLIPTextModelWithProjection", "clip_text_model");
  fields.IgnoreTransformersNotes();
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

ClipTextWeights BindClipText(const ClipTextConfig& config, WeightBinder& binder) {
  binder.Ignore("text_model.embeddings.position_ids");  // a constant that old files hold
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  using Linear = ClipTextWeights::Linear;
  auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    return Linear{binder.Take(name + ".weight", {out, in}), binder.Take(name + ".bias", {out})};
  };
  auto norm = [&](const std::string& name) {
    return Linear{binder.Take(name + ".weight", {width}), binder.Take(name + ".bias", {width})};
  };
  ClipTextWeights weights;
  weights.token_embedding = binder.Take("text_model.embeddings.token_embedding.weight", {config.vocab_size, width});
  weights.position_embedding =
      binder.Take("text_model.embeddings.position_embedding.weight", {config.max_position_embeddings, width});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string prefix = absl::StrCat("text_model.encoder.layers.", i, ".");
    weights.layers.push_back(
        {norm(prefix + "layer_norm1"), norm(prefix + "layer_norm2"), linear(prefix + "self_attn.q_proj", width, width),
         linear(prefix + "self_attn.k_proj", width, width), linear(prefix + "self_attn.v_proj", width, width),
         linear(prefix + "self_attn.out_proj", width, width), linear(prefix + "mlp.fc1", inner, width),
         linear(prefix + "mlp.fc2", width, inner)});
  }
  weights.final_norm = norm("text_model.final_layer_norm");
  weights.text_projection = binder.Take("text_projection.weight", {config.projection_dim, width});
  return weights;
}

ClipTextEncoder::ClipTextEncoder(ClipTextConfig config, ClipTextWeights weights)
    : config_(std::move(config)),
      activation_(TextActivationByName(config_.hidden_act)),
      weights_(std::move(weights)) {}

absl::StatusOr<std::unique_ptr<const ClipTextEncoder>> ClipTextEncoder::Load(const std::string& folder,
                                                                             Placement placement,
                                                                             ReadProgress progress) {
  const at::NoGradGuard no_grad;
  const std::string config_path = absl::StrCat(folder, "/config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  FLOWAWR_ASSIGN_OR_RETURN(ClipTextConfig config, ParseClipTextConfig(json, config_path));
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder, WeightBinder::Open(folder, "model", placement, std::move(progress)));
  ClipTextWeights weights = BindClipText(config, binder);
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  return std::make_unique<const ClipTextEncoder>(std::move(config), std::move(weights));
}

at::Tensor ClipTextEncoder::Normed(const ClipTextWeights::Linear& norm, const at::Tensor& hidden) const {
  return at::layer_norm(hidden, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor ClipTextEncoder::ForwardLayer(const ClipTextWeights::Layer& layer,
                                         const at::Tensor& hidden) const {
  const int64_t batch = hidden.size(0), length = hidden.size(1);
  auto heads = [&](const ClipTextWeights::Linear& projection, const at::Tensor& x) {
    return AffineProduct(x, projection.weight, projection.bias)
        .view({batch, length, config_.num_attention_heads, -1})
        .transpose(1, 2);
  };
  const at::Tensor x = Normed(layer.norm1, hidden);
  const at::Tensor attended =
      Attention(heads(layer.q, x), heads(layer.k, x), heads(layer.v, x), {.is_causal = true});
  const at::Tensor joined = attended.transpose(1, 2).reshape({batch, length, config_.hidden_size});
  const at::Tensor middle = hidden + AffineProduct(joined, layer.out.weight, layer.out.bias);
  const at::Tensor inner = activation_(AffineProduct(Normed(layer.norm2, middle), layer.fc1.weight, layer.fc1.bias));
  return middle + AffineProduct(inner, layer.fc2.weight, layer.fc2.bias);
}

ClipTextEncoder::Output ClipTextEncoder::Forward(const at::Tensor& ids) const {
  const at::NoGradGuard no_grad;
  const int64_t batch = ids.size(0), length = ids.size(1);
  TORCH_CHECK(length <= config_.max_position_embeddings, "a sequence of ", length, " tokens; this encoder takes ",
              config_.max_position_embeddings);
  at::Tensor hidden = at::embedding(weights_.token_embedding, ids) + weights_.position_embedding.narrow(0, 0, length);
  Output output;
  for (const ClipTextWeights::Layer& layer : weights_.layers) {
    output.hidden = hidden;
    hidden = ForwardLayer(layer, hidden);
  }
  // argmax takes the first of equal values.
  const at::Tensor score = config_.eos_token_id == 2 ? ids.to(at::kInt) : (ids == config_.eos_token_id).to(at::kInt);
  const at::Tensor state = Normed(weights_.final_norm, hidden).index({at::arange(batch, ids.options()), score.argmax(-1)});
  output.pooled = AffineProduct(state, weights_.text_projection);
  return output;
}

}  // namespace flowawr
