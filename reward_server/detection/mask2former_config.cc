#include "reward_server/detection/mask2former_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostClasses = 100'000;

// A number, or a list of two that are alike.
bool IsPatch(const Json& value) {
  return value.is_null() || value == SwinConfig::kPatch || value == Json({SwinConfig::kPatch, SwinConfig::kPatch});
}

absl::StatusOr<SwinConfig> ParseSwin(const Json& json, const std::string& name) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json.dump(), name + ": backbone_config"));
  SwinConfig config;
  fields.Require(fields.String("model_type", "swin") == "swin", "only Swin backbones are supported");
  config.num_channels = fields.Int("num_channels", config.num_channels, 3, 3);
  config.embed_dim = fields.Int("embed_dim", config.embed_dim, 1, 4096);
  config.depths = fields.Ints("depths", config.depths);
  config.num_heads = fields.Ints("num_heads", config.num_heads);
  config.window_size = fields.Int("window_size", config.window_size, 1, 64);
  config.mlp_ratio = fields.Number("mlp_ratio", config.mlp_ratio, 0);
  config.qkv_bias = fields.Bool("qkv_bias", config.qkv_bias);
  config.layer_norm_eps = fields.Number("layer_norm_eps", config.layer_norm_eps, 0);
  fields.Require(fields.String("hidden_act", "gelu") == "gelu", "hidden_act must be gelu");
  fields.Require(IsPatch(json.value("patch_size", Json())), "patch_size must be 4");
  fields.MustBeOff("use_absolute_embeddings");
  const std::vector<std::string> stages = {"stage1", "stage2", "stage3", "stage4"};
  fields.Require(fields.Strings("out_features").empty() || fields.Strings("out_features") == stages,
                 "out_features must be the four stages");
  const bool has_stages = config.depths.size() == SwinConfig::kStages && config.num_heads.size() == SwinConfig::kStages;
  fields.Require(has_stages, "depths and num_heads must have 4 entries");
  for (size_t i = 0; has_stages && i < SwinConfig::kStages; ++i) {
    fields.Require(config.depths[i] >= 1 && config.depths[i] <= 1000, "depths must be from 1 to 1000");
    fields.Require(config.num_heads[i] >= 1 && config.Channels(i) % config.num_heads[i] == 0,
                   absl::StrCat("stage ", i + 1, ": ", config.Channels(i), " channels do not divide into ",
                                config.num_heads[i], " heads"));
    fields.Require(config.Hidden(i) >= 1 && config.mlp_ratio <= 1000, "mlp_ratio does not fit");
  }
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

absl::StatusOr<std::vector<std::string>> ParseLabels(const Json& json, const std::string& name) {
  if (!json.is_object() || json.empty() || json.size() > kMostClasses)
    return absl::InvalidArgumentError(absl::StrCat(name, ": id2label must name the classes"));
  std::vector<std::string> names;
  for (size_t i = 0; i < json.size(); ++i) {
    const auto found = json.find(absl::StrCat(i));
    if (found == json.end() || !found->is_string())
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": id2label must have a name for every number from 0 to ", json.size() - 1, "; ", i,
                       " has none"));
    names.push_back(found->get<std::string>());
  }
  return names;
}

}  // namespace

absl::StatusOr<Mask2FormerConfig> ParseMask2FormerConfig(absl::string_view json, const std::string& name_for_errors) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name_for_errors));
  FLOWAWR_ASSIGN_OR_RETURN(const Json object, ParseStrictJson(json, name_for_errors));
  Mask2FormerConfig config;
  fields.RequireArchitecture("Mask2FormerForUniversalSegmentation", "mask2former");
  config.feature_size = fields.Int("feature_size", config.feature_size, 1, 8192);
  config.mask_feature_size = fields.Int("mask_feature_size", config.mask_feature_size, 1, 8192);
  config.hidden_dim = fields.Int("hidden_dim", config.hidden_dim, 1, 8192);
  config.encoder_feedforward_dim = fields.Int("encoder_feedforward_dim", config.encoder_feedforward_dim);
  config.dim_feedforward = fields.Int("dim_feedforward", config.dim_feedforward);
  config.encoder_layers = fields.Int("encoder_layers", config.encoder_layers, 0, 1000);
  config.decoder_layers = fields.Int("decoder_layers", config.decoder_layers, 2, 1000);
  config.num_attention_heads = fields.Int("num_attention_heads", config.num_attention_heads, 1, 1024);
  config.num_queries = fields.Int("num_queries", config.num_queries, 1, 100'000);
  config.enforce_input_projection = fields.Bool("enforce_input_projection", config.enforce_input_projection);
  fields.MustBeOff("pre_norm");
  fields.Require(fields.String("activation_function", "relu") == "relu", "activation_function must be relu");
  fields.Require(fields.Int("common_stride", 4) == 4, "common_stride must be 4");
  fields.Require(fields.Ints("feature_strides", {4, 8, 16, 32}) == std::vector<int64_t>{4, 8, 16, 32},
                 "feature_strides must be 4, 8, 16, 32");
  fields.Require(config.feature_size % Mask2FormerConfig::kGroups == 0, "feature_size must be a multiple of 32");
  fields.Require(config.feature_size % config.num_attention_heads == 0 && config.feature_size % 4 == 0 &&
                     config.hidden_dim % config.num_attention_heads == 0 && config.hidden_dim % 4 == 0,
                 "feature_size and hidden_dim must divide by num_attention_heads, and by 4");
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  FLOWAWR_ASSIGN_OR_RETURN(config.backbone, ParseSwin(object.value("backbone_config", Json()), name_for_errors));
  FLOWAWR_ASSIGN_OR_RETURN(config.class_names, ParseLabels(object.value("id2label", Json()), name_for_errors));
  return config;
}

}  // namespace flowawr
