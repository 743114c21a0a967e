#include "common/clip/clip_weights.h"

#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

struct Affine {
  at::Tensor weight, bias;
  bool is_whole() const { return weight.defined() && bias.defined(); }
};

Affine TakeNorm(WeightBinder& binder, const std::string& name, int64_t width) {
  return {binder.Take(name + ".weight", {width}), binder.Take(name + ".bias", {width})};
}

Affine TakeLinear(WeightBinder& binder, const std::string& name, int64_t out, int64_t in) {
  return {binder.Take(name + ".weight", {out, in}), binder.Take(name + ".bias", {out})};
}

// OpenCLIP's [in, out] as [out, in].
at::Tensor TakeProjection(WeightBinder& binder, const std::string& name, int64_t out, int64_t in) {
  const at::Tensor projection = binder.Take(name, {in, out});
  return projection.defined() ? projection.t().contiguous() : projection;
}

// Queries, keys and values, one above another.
Affine TakeQkv(WeightBinder& binder, const std::string& layer, int64_t width, ClipLayout layout) {
  if (layout == ClipLayout::kOpenClip)
    return {binder.Take(layer + "attn.in_proj_weight", {3 * width, width}),
            binder.Take(layer + "attn.in_proj_bias", {3 * width})};
  std::vector<WeightBinder::Part> weights, biases;
  for (const char* part : {"q", "k", "v"}) {
    const std::string name = absl::StrCat(layer, "self_attn.", part, "_proj");
    weights.push_back({name + ".weight", width});
    biases.push_back({name + ".bias", width});
  }
  return {binder.TakeStacked(weights, {width}).Joined(), binder.TakeStacked(biases, {}).Joined()};
}

// The names of a layer's parts, without ".weight" and ".bias".
struct LayerNames {
  const char* norm1;
  const char* norm2;
  const char* out;
  const char* fc1;
  const char* fc2;
};
constexpr LayerNames kHfLayer = {"layer_norm1", "layer_norm2", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"};
constexpr LayerNames kOpenClipLayer = {"ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"};

ClipVisionTower BindVision(const ClipConfig& config, WeightBinder& binder) {
  const bool is_hf = config.layout == ClipLayout::kHf;
  const ClipTransformerConfig& sizes = config.vision.transformer;
  const int64_t width = sizes.width, patch = config.vision.patch_size, tokens = config.vision.tokens();
  const auto name = [is_hf](const char* hf, const char* open_clip) { return std::string(is_hf ? hf : open_clip); };
  const auto norm = [&](const std::string& norm_name) {
    Affine affine = TakeNorm(binder, norm_name, width);
    return ClipNorm{std::move(affine.weight), std::move(affine.bias)};
  };
  const auto packed = [&](const Affine& affine) {
    return affine.is_whole() ? PackedLinear(affine.weight, affine.bias, /*rows=*/tokens) : PackedLinear();
  };
  ClipVisionTower vision;
  vision.config = config.vision;
  const at::Tensor first =
      binder.Take(name("vision_model.embeddings.class_embedding", "visual.class_embedding"), {width});
  vision.class_embedding = first.defined() ? first.view({1, width}) : first;
  vision.patch_embedding = binder.Take(name("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
                                       {width, 3, patch, patch});
  vision.position_embedding = binder.Take(
      name("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"), {tokens, width});
  vision.norm_before = norm(name("vision_model.pre_layrnorm", "visual.ln_pre"));  // spelt like that
  vision.transformer = ClipTransformer(sizes);
  const LayerNames& parts = is_hf ? kHfLayer : kOpenClipLayer;
  for (int64_t i = 0; i < sizes.layers; ++i) {
    const std::string layer =
        absl::StrCat(name("vision_model.encoder.layers.", "visual.transformer.resblocks."), i, ".");
    vision.transformer.AddLayer({.norm1 = norm(layer + parts.norm1),
                                 .norm2 = norm(layer + parts.norm2),
                                 .qkv = packed(TakeQkv(binder, layer, width, config.layout)),
                                 .out = packed(TakeLinear(binder, layer + parts.out, width, width)),
                                 .fc1 = packed(TakeLinear(binder, layer + parts.fc1, sizes.inner, width)),
                                 .fc2 = packed(TakeLinear(binder, layer + parts.fc2, width, sizes.inner))});
  }
  vision.norm_after = norm(name("vision_model.post_layernorm", "visual.ln_post"));
  vision.projection = is_hf ? binder.Take("visual_projection.weight", {config.projection_dim, width})
                            : TakeProjection(binder, "visual.proj", config.projection_dim, width);
  return vision;
}

ClipTextWeights BindOpenClipText(const ClipTextConfig& config, WeightBinder& binder) {
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  const auto linear = [](Affine affine) {
    return ClipTextWeights::Linear{std::move(affine.weight), std::move(affine.bias)};
  };
  ClipTextWeights text;
  text.token_embedding = binder.Take("token_embedding.weight", {config.vocab_size, width});
  text.position_embedding = binder.Take("positional_embedding", {config.max_position_embeddings, width});
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = absl::StrCat("transformer.resblocks.", i, ".");
    const Affine qkv = TakeQkv(binder, layer, width, ClipLayout::kOpenClip);
    const auto part = [&](int64_t which) {
      if (!qkv.is_whole()) return ClipTextWeights::Linear();
      return ClipTextWeights::Linear{qkv.weight.narrow(0, which * width, width),
                                     qkv.bias.narrow(0, which * width, width)};
    };
    text.layers.push_back({linear(TakeNorm(binder, layer + "ln_1", width)),
                           linear(TakeNorm(binder, layer + "ln_2", width)), part(0), part(1), part(2),
                           linear(TakeLinear(binder, layer + "attn.out_proj", width, width)),
                           linear(TakeLinear(binder, layer + "mlp.c_fc", inner, width)),
                           linear(TakeLinear(binder, layer + "mlp.c_proj", width, inner))});
  }
  text.final_norm = linear(TakeNorm(binder, "ln_final", width));
  text.text_projection = TakeProjection(binder, "text_projection", config.projection_dim, width);
  return text;
}

}  // namespace

ClipWeights BindClip(const ClipConfig& config, WeightBinder& binder) {
  const at::NoGradGuard no_grad;
  binder.Ignore("vision_model.embeddings.position_ids");  // a constant that old files hold
  ClipWeights weights;
  weights.vision = BindVision(config, binder);
  weights.text =
      config.layout == ClipLayout::kHf ? BindClipText(config.text, binder) : BindOpenClipText(config.text, binder);
  // As exact as the file has it, whatever the towers compute in.
  if (binder.Take("logit_scale", {}).defined())
    weights.logit_scale = binder.tensors().at("logit_scale").to(at::kDouble).item<double>();
  return weights;
}

}  // namespace flowawr
