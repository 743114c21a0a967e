#include "common/sd3/transformer_config.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"

namespace flowawr {

std::string TransformerConfig::Canonical() const {
  return absl::StrCat("SD3Transformer2DModel patch_size=", patch_size, " in_channels=", in_channels,
                      " out_channels=", out_channels, " num_layers=", num_layers,
                      " attention_head_dim=", attention_head_dim, " num_attention_heads=", num_attention_heads,
                      " joint_attention_dim=", joint_attention_dim, " pooled_projection_dim=", pooled_projection_dim,
                      " pos_embed_max_size=", pos_embed_max_size, " qk_norm=", has_qk_norm ? "rms_norm" : "none",
                      " dual_attention_layers=", absl::StrJoin(dual_attention_layers, ","));
}

absl::StatusOr<TransformerConfig> ParseTransformerConfig(absl::string_view json, const std::string& name_for_errors) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name_for_errors));
  fields.RequireClass("SD3Transformer2DModel", /*may_be_absent=*/true);
  TransformerConfig config;
  config.sample_size = fields.Int("sample_size", config.sample_size);
  config.patch_size = fields.Int("patch_size", config.patch_size, 1, 64);
  config.in_channels = fields.Int("in_channels", config.in_channels);
  config.out_channels = fields.Int("out_channels", config.in_channels);
  config.num_layers = fields.Int("num_layers", config.num_layers, 1, 1024);
  config.attention_head_dim = fields.Int("attention_head_dim", config.attention_head_dim);
  config.num_attention_heads = fields.Int("num_attention_heads", config.num_attention_heads);
  config.joint_attention_dim = fields.Int("joint_attention_dim", config.joint_attention_dim);
  config.caption_projection_dim = fields.Int("caption_projection_dim", config.caption_projection_dim);
  config.pooled_projection_dim = fields.Int("pooled_projection_dim", config.pooled_projection_dim);
  config.pos_embed_max_size = fields.Int("pos_embed_max_size", config.pos_embed_max_size, 1, 8192);
  const std::vector<int64_t> dual = fields.Ints("dual_attention_layers", {});
  config.dual_attention_layers.insert(dual.begin(), dual.end());
  const std::string qk_norm = fields.String("qk_norm", "");
  config.has_qk_norm = !qk_norm.empty();

  fields.Require(qk_norm.empty() || qk_norm == "rms_norm",
                 absl::StrCat("qk_norm \"", qk_norm, "\" is not supported; \"rms_norm\" and null are"));
  fields.Require(config.caption_projection_dim == config.inner_dim(),
                 absl::StrCat("caption_projection_dim ", config.caption_projection_dim,
                              " differs from num_attention_heads * attention_head_dim = ", config.inner_dim()));
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

}  // namespace flowawr
