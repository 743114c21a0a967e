#include "common/clip/clip_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

constexpr int64_t kMostLayers = 1024;
constexpr int64_t kMostImageSize = 2048;

// A part of a file: `name` says which in errors.
absl::StatusOr<ConfigFields> Section(const nlohmann::json& object, const std::string& name) {
  return ConfigFields::Parse(object.is_null() ? "{}" : object.dump(), name);
}

void CheckTransformer(ConfigFields& fields, const ClipTransformerConfig& config) {
  fields.Require(config.width % config.heads == 0, "the width must be a multiple of the number of heads");
  fields.Require(config.activation == "quick_gelu" || config.activation == "gelu",
                 absl::StrCat("hidden_act \"", config.activation, "\" is not known; quick_gelu and gelu are"));
}

void CheckPatches(ConfigFields& fields, const ClipVisionConfig& config) {
  fields.Require(config.image_size % config.patch_size == 0, "image_size must be a multiple of patch_size");
}

// Old files have a tower's fields twice; transformers then takes what is in `vision_config_dict` or `text_config_dict`,
// and its own defaults for what is not there.
const nlohmann::json& TowerSection(const nlohmann::json& file, const std::string& tower) {
  static const nlohmann::json none;
  for (const std::string& key : {tower + "_config_dict", tower + "_config"})
    if (const auto found = file.find(key); found != file.end() && !found->is_null()) return *found;
  return none;
}

// What OpenCLIP's vision and text configurations share. Absent fields take OpenCLIP's defaults.
void ReadOpenClipTransformer(ConfigFields& fields, ClipTransformerConfig& config) {
  config.width = fields.Int("width", config.width);
  config.layers = fields.Int("layers", config.layers, 1, kMostLayers);
  const double inner = static_cast<double>(config.width) * fields.Number("mlp_ratio", 4, 0);
  fields.Require(inner >= 1 && inner <= ConfigFields::kMostInt, "mlp_ratio is out of bounds");
  config.inner = static_cast<int64_t>(std::min<double>(inner, ConfigFields::kMostInt));  // Python's int()
  for (const char* field :
       {"ls_init_value", "act_kwargs", "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads",
        "scale_attn_inner", "scale_attn", "scale_fc", "final_ln_after_pool", "output_tokens"})
    fields.MustBeOff(field);
}

}  // namespace

absl::StatusOr<ClipConfig> ParseHfClipConfig(absl::string_view json, const std::string& name) {
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json file, ParseStrictJson(json, name));
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name));
  ClipConfig config;
  config.layout = ClipLayout::kHf;
  config.projection_dim = fields.Int("projection_dim", config.projection_dim);
  fields.RequireArchitecture("CLIPModel", "clip");
  fields.IgnoreTransformersNotes();
  for (const char* field :
       {"logit_scale_init_value", "vision_config", "vision_config_dict", "text_config", "text_config_dict"})
    fields.Ignore(field);
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());

  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields vision, Section(TowerSection(file, "vision"), name + ", vision_config"));
  ClipTransformerConfig& eye = config.vision.transformer;
  eye.width = vision.Int("hidden_size", 768);
  eye.inner = vision.Int("intermediate_size", 3072);
  eye.layers = vision.Int("num_hidden_layers", 12, 1, kMostLayers);
  eye.heads = vision.Int("num_attention_heads", 12);
  eye.norm_epsilon = vision.Number("layer_norm_eps", eye.norm_epsilon, 0);
  eye.activation = vision.String("hidden_act", eye.activation);
  vision.Ignore("projection_dim");  // the whole model's counts
  CheckTransformer(vision, eye);
  config.vision.image_size = vision.Int("image_size", config.vision.image_size, 1, kMostImageSize);
  config.vision.patch_size = vision.Int("patch_size", config.vision.patch_size);
  CheckPatches(vision, config.vision);
  vision.Require(vision.Int("num_channels", 3) == 3, "num_channels must be 3");
  vision.RequireArchitecture("CLIPVisionModel", "clip_vision_model");
  vision.IgnoreTransformersNotes();
  vision.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(vision.Finish());

  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields text, Section(TowerSection(file, "text"), name + ", text_config"));
  ReadClipTextFields(text, config.text);
  config.text.projection_dim = config.projection_dim;  // the whole model's counts
  text.RequireArchitecture("CLIPTextModel", "clip_text_model");
  text.IgnoreTransformersNotes();
  text.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(text.Finish());
  return config;
}

absl::StatusOr<ClipConfig> ParseOpenClipConfig(absl::string_view json, const std::string& name) {
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json file, ParseStrictJson(json, name));
  const auto found = file.find("model_cfg");
  if (!file.is_object() || found == file.end() || !found->is_object())
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected an object with a model_cfg"));
  const nlohmann::json& model = *found;
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, Section(model, name + ", model_cfg"));
  ClipConfig config;
  config.layout = ClipLayout::kOpenClip;
  config.projection_dim = fields.Int("embed_dim", config.projection_dim);
  const std::string activation = fields.Bool("quick_gelu", false) ? "quick_gelu" : "gelu";
  for (const char* field : {"custom_text", "init_logit_bias", "multimodal_cfg", "nonscalar_logit_scale"})
    fields.MustBeOff(field);
  for (const char* field : {"vision_cfg", "text_cfg", "init_logit_scale"}) fields.Ignore(field);
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());

  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields vision,
                           Section(model.value("vision_cfg", nlohmann::json()), name + ", vision_cfg"));
  ClipTransformerConfig& eye = config.vision.transformer;
  eye = {.width = 768, .layers = 12, .activation = activation};
  ReadOpenClipTransformer(vision, eye);
  eye.heads = std::max<int64_t>(1, eye.width / vision.Int("head_width", 64));
  config.vision.image_size = vision.Int("image_size", 224, 1, kMostImageSize);
  config.vision.patch_size = vision.Int("patch_size", 16);
  CheckTransformer(vision, eye);
  CheckPatches(vision, config.vision);
  for (const char* field : {"attentional_pool", "no_ln_pre", "timm_model_name", "timm_model_pretrained"})
    vision.MustBeOff(field);
  vision.Require(vision.String("pool_type", "tok") == "tok", "pool_type must be \"tok\"");
  vision.Require(vision.String("pos_embed_type", "learnable") == "learnable", "pos_embed_type must be \"learnable\"");
  for (const char* field : {"patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "timm_pool", "timm_proj",
                            "timm_proj_bias", "timm_drop", "timm_drop_path"})
    vision.Ignore(field);
  vision.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(vision.Finish());

  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields text, Section(model.value("text_cfg", nlohmann::json()), name + ", text_cfg"));
  ClipTransformerConfig reader = {.width = 512, .layers = 12, .activation = activation};
  ReadOpenClipTransformer(text, reader);
  reader.heads = text.Int("heads", 8);
  CheckTransformer(text, reader);
  config.text = {.vocab_size = text.Int("vocab_size", 49408),
                 .hidden_size = reader.width,
                 .intermediate_size = reader.inner,
                 .projection_dim = config.projection_dim,
                 .num_hidden_layers = reader.layers,
                 .num_attention_heads = reader.heads,
                 .max_position_embeddings = text.Int("context_length", 77, 2, 1 << 16),
                 .layer_norm_eps = reader.norm_epsilon,
                 .hidden_act = activation,
                 .eos_token_id = 2};
  for (const char* field : {"hf_model_name", "embed_cls", "no_causal_mask", "proj_bias"}) text.MustBeOff(field);
  text.Require(text.String("pool_type", "argmax") == "argmax", "pool_type must be \"argmax\"");
  text.Require(text.String("proj_type", "linear") == "linear", "proj_type must be \"linear\"");
  for (const char* field : {"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "pad_id", "eos_id",
                            "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"})
    text.Ignore(field);
  text.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(text.Finish());
  return config;
}

}  // namespace flowawr
