#include "common/sd3/transformer_config.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/sd3/model_config.h"

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
  FLOWAWR_ASSIGN_OR_RETURN(ModelConfigReader reader,
                           ModelConfigReader::Parse(json, "SD3Transformer2DModel", name_for_errors));
  TransformerConfig config;
  config.sample_size = reader.Int("sample_size", config.sample_size);
  config.patch_size = reader.Int("patch_size", config.patch_size);
  config.in_channels = reader.Int("in_channels", config.in_channels);
  config.out_channels = reader.Int("out_channels", config.in_channels);
  config.num_layers = reader.Int("num_layers", config.num_layers);
  config.attention_head_dim = reader.Int("attention_head_dim", config.attention_head_dim);
  config.num_attention_heads = reader.Int("num_attention_heads", config.num_attention_heads);
  config.joint_attention_dim = reader.Int("joint_attention_dim", config.joint_attention_dim);
  config.caption_projection_dim = reader.Int("caption_projection_dim", config.caption_projection_dim);
  config.pooled_projection_dim = reader.Int("pooled_projection_dim", config.pooled_projection_dim);
  config.pos_embed_max_size = reader.Int("pos_embed_max_size", config.pos_embed_max_size);
  const std::vector<int64_t> dual = reader.Ints("dual_attention_layers", {});
  config.dual_attention_layers.insert(dual.begin(), dual.end());
  const std::string qk_norm = reader.String("qk_norm", "");
  config.has_qk_norm = !qk_norm.empty();

  reader.Require(qk_norm.empty() || qk_norm == "rms_norm",
                 absl::StrCat("qk_norm \"", qk_norm, "\" is not supported; \"rms_norm\" and null are"));
  reader.Require(config.caption_projection_dim == config.inner_dim(),
                 absl::StrCat("caption_projection_dim ", config.caption_projection_dim,
                              " differs from num_attention_heads * attention_head_dim = ", config.inner_dim()));
  for (const auto& [field, size] : {std::pair{"patch_size", config.patch_size},
                                    {"in_channels", config.in_channels},
                                    {"num_layers", config.num_layers},
                                    {"attention_head_dim", config.attention_head_dim},
                                    {"num_attention_heads", config.num_attention_heads},
                                    {"joint_attention_dim", config.joint_attention_dim},
                                    {"pooled_projection_dim", config.pooled_projection_dim},
                                    {"pos_embed_max_size", config.pos_embed_max_size}}) {
    reader.Require(size > 0, absl::StrCat(field, " must be positive"));
  }
  FLOWAWR_RETURN_IF_ERROR(reader.Finish());
  return config;
}

}  // namespace flowawr
