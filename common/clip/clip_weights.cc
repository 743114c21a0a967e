#include "common/clip/clip_weights.h"

#include <torch/types.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// The names of one tower, without ".weight" and ".bias".
struct LayerNames {
  const char* norm1;
  const char* norm2;
  const char* out;
  const char* fc1;
  const char* fc2;
};
constexpr LayerNames kHfLayer = {"layer_norm1", "layer_norm2", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"};
constexpr LayerNames kOpenClipLayer = {"ln_1", "ln_2", "attn.out_proj", "mlp.c_fc", "mlp.c_proj"};

// A text passes once a prompt and is short: its weights stay where they are, in the mapped file if they can.
constexpr int64_t kNotPacked = 0;

class Binding {
 public:
  Binding(ClipLayout layout, WeightBinder& binder) : is_hf_(layout == ClipLayout::kHf), binder_(binder) {}

  // A tensor by its name in either layout.
  at::Tensor Take(const std::string& hf, const std::string& open_clip, at::IntArrayRef shape) {
    return binder_.Take(is_hf_ ? hf : open_clip, shape);
  }

  ClipNorm Norm(const std::string& name, int64_t width) {
    return {binder_.Take(name + ".weight", {width}), binder_.Take(name + ".bias", {width})};
  }
  ClipNorm Norm(const std::string& hf, const std::string& open_clip, int64_t width) {
    return Norm(is_hf_ ? hf : open_clip, width);
  }

  // [out, in] in either layout.
  at::Tensor Projection(const std::string& hf, const std::string& open_clip, int64_t out, int64_t in) {
    if (is_hf_) return binder_.Take(hf, {out, in});
    const at::Tensor transposed = binder_.Take(open_clip, {in, out});
    return transposed.defined() ? transposed.t().contiguous() : transposed;
  }

  // `rows`: of the sequences that the layers will see.
  void Layers(const std::string& hf, const std::string& open_clip, int64_t rows, ClipTransformer& transformer) {
    const ClipTransformerConfig& config = transformer.config();
    for (int64_t i = 0; i < config.layers; ++i)
      transformer.AddLayer(Layer(absl::StrCat(is_hf_ ? hf : open_clip, i, "."), config, rows));
  }

 private:
  ClipLayer Layer(const std::string& prefix, const ClipTransformerConfig& config, int64_t rows) {
    const LayerNames& names = is_hf_ ? kHfLayer : kOpenClipLayer;
    const int64_t width = config.width, inner = config.inner;
    ClipLayer layer;
    layer.norm1 = Norm(prefix + names.norm1, width);
    layer.norm2 = Norm(prefix + names.norm2, width);
    layer.qkv = Attention(prefix, width, rows);
    layer.out = Linear(prefix + names.out, width, width, rows);
    layer.fc1 = Linear(prefix + names.fc1, inner, width, rows);
    layer.fc2 = Linear(prefix + names.fc2, width, inner, rows);
    return layer;
  }

  PackedLinear Linear(const std::string& name, int64_t out, int64_t in, int64_t rows) {
    const at::Tensor weight = binder_.Take(name + ".weight", {out, in});
    return Packed(weight, binder_.Take(name + ".bias", {out}), rows);
  }

  PackedLinear Attention(const std::string& prefix, int64_t width, int64_t rows) {
    if (!is_hf_) {
      const at::Tensor weight = binder_.Take(prefix + "attn.in_proj_weight", {3 * width, width});
      return Packed(weight, binder_.Take(prefix + "attn.in_proj_bias", {3 * width}), rows);
    }
    std::vector<WeightBinder::Part> weights, biases;
    for (const char* part : {"q", "k", "v"}) {
      const std::string name = absl::StrCat(prefix, "self_attn.", part, "_proj");
      weights.push_back({name + ".weight", width});
      biases.push_back({name + ".bias", width});
    }
    const at::Tensor weight = binder_.TakeStacked(weights, {width}).Joined();
    return Packed(weight, binder_.TakeStacked(biases, {}).Joined(), rows);
  }

  PackedLinear Packed(const at::Tensor& weight, const at::Tensor& bias, int64_t rows) {
    return weight.defined() && bias.defined() ? PackedLinear(weight, bias, rows) : PackedLinear();
  }

  const bool is_hf_;
  WeightBinder& binder_;
};

}  // namespace

ClipWeights BindClip(const ClipConfig& config, WeightBinder& binder) {
  const at::NoGradGuard no_grad;
  Binding names(config.layout, binder);
  for (const char* constant : {"text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"})
    binder.Ignore(constant);  // that old files hold
  ClipWeights weights;

  ClipVisionTower& vision = weights.vision;
  vision.config = config.vision;
  vision.transformer = ClipTransformer(config.vision.transformer, /*is_causal=*/false);
  const int64_t width = config.vision.transformer.width, patch = config.vision.patch_size;
  const std::string eye = "vision_model.embeddings.";
  const at::Tensor class_embedding = names.Take(eye + "class_embedding", "visual.class_embedding", {width});
  vision.class_embedding = class_embedding.defined() ? class_embedding.view({1, width}) : class_embedding;
  vision.patch_embedding = names.Take(eye + "patch_embedding.weight", "visual.conv1.weight", {width, 3, patch, patch});
  vision.position_embedding = names.Take(eye + "position_embedding.weight", "visual.positional_embedding",
                                         {config.vision.tokens(), width});
  vision.norm_before = names.Norm("vision_model.pre_layrnorm", "visual.ln_pre", width);  // spelt like that
  names.Layers("vision_model.encoder.layers.", "visual.transformer.resblocks.", config.vision.tokens(),
               vision.transformer);
  vision.norm_after = names.Norm("vision_model.post_layernorm", "visual.ln_post", width);
  vision.projection = names.Projection("visual_projection.weight", "visual.proj", config.projection_dim, width);

  ClipTextTower& text = weights.text;
  text.config = config.text;
  text.transformer = ClipTransformer(config.text.transformer, /*is_causal=*/true);
  const int64_t text_width = config.text.transformer.width;
  text.token_embedding = names.Take("text_model.embeddings.token_embedding.weight", "token_embedding.weight",
                                    {config.text.vocab_size, text_width});
  text.position_embedding = names.Take("text_model.embeddings.position_embedding.weight", "positional_embedding",
                                       {config.text.max_tokens, text_width});
  names.Layers("text_model.encoder.layers.", "transformer.resblocks.", kNotPacked, text.transformer);
  text.final_norm = names.Norm("text_model.final_layer_norm", "ln_final", text_width);
  text.projection =
      names.Projection("text_projection.weight", "text_projection", config.projection_dim, text_width);

  // As exact as the file has it, whatever the towers compute in.
  if (binder.Take("logit_scale", {}).defined())
    weights.logit_scale = binder.tensors().at("logit_scale").to(at::kDouble).item<double>();
  return weights;
}

}  // namespace flowawr
