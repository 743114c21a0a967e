#include "common/sd3/vae_config.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"

namespace flowawr {

std::string VaeConfig::Canonical() const {
  return absl::StrCat("AutoencoderKL in_channels=", in_channels, " out_channels=", out_channels,
                      " latent_channels=", latent_channels, " block_out_channels=",
                      absl::StrJoin(block_out_channels, ","), " layers_per_block=", layers_per_block,
                      " norm_num_groups=", norm_num_groups, absl::StrFormat(" scaling_factor=%.17g", scaling_factor),
                      absl::StrFormat(" shift_factor=%.17g", shift_factor), " use_quant_conv=", use_quant_conv,
                      " use_post_quant_conv=", use_post_quant_conv,
                      " mid_block_add_attention=", mid_block_add_attention);
}

absl::StatusOr<VaeConfig> ParseVaeConfig(absl::string_view json, const std::string& name_for_errors) {
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(json, name_for_errors));
  fields.RequireClass("AutoencoderKL", /*may_be_absent=*/true);
  VaeConfig config;
  config.in_channels = fields.Int("in_channels", config.in_channels);
  config.out_channels = fields.Int("out_channels", config.out_channels);
  config.latent_channels = fields.Int("latent_channels", config.latent_channels);
  config.block_out_channels = fields.Ints("block_out_channels", config.block_out_channels);
  config.layers_per_block = fields.Int("layers_per_block", config.layers_per_block, 1, 64);
  config.norm_num_groups = fields.Int("norm_num_groups", config.norm_num_groups);
  config.scaling_factor = fields.Number("scaling_factor", config.scaling_factor);
  config.shift_factor = fields.Number("shift_factor", config.shift_factor);
  config.use_quant_conv = fields.Bool("use_quant_conv", config.use_quant_conv);
  config.use_post_quant_conv = fields.Bool("use_post_quant_conv", config.use_post_quant_conv);
  config.mid_block_add_attention = fields.Bool("mid_block_add_attention", config.mid_block_add_attention);
  fields.Ignore("sample_size");
  fields.Ignore("force_upcast");

  fields.Require(fields.String("act_fn", "silu") == "silu", "act_fn must be silu");
  const auto require_blocks = [&](const std::string& field, const std::string& type) {
    std::vector<std::string> types = fields.Strings(field);
    if (types.empty()) types = {type};
    for (const std::string& found : types) {
      fields.Require(found == type, absl::StrCat(field, " holds ", found, "; only ", type, " is supported"));
    }
    fields.Require(types.size() == config.block_out_channels.size(),
                   absl::StrCat(field, " and block_out_channels differ in length"));
  };
  require_blocks("down_block_types", "DownEncoderBlock2D");
  require_blocks("up_block_types", "UpDecoderBlock2D");
  fields.Require(!config.block_out_channels.empty() && config.block_out_channels.size() <= 8,
                 "block_out_channels must have 1 to 8 levels");
  for (const int64_t channels : config.block_out_channels) {
    fields.Require(channels > 0 && channels % config.norm_num_groups == 0,
                   absl::StrCat(channels, " channels do not divide into ", config.norm_num_groups, " norm groups"));
  }
  fields.Require(config.scaling_factor > 0, "scaling_factor must be positive");
  fields.RefuseUnknown();
  FLOWAWR_RETURN_IF_ERROR(fields.Finish());
  return config;
}

}  // namespace flowawr
