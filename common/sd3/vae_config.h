// The configuration of an image autoencoder, diffusers' AutoencoderKL, as its config.json has it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct VaeConfig {
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  int64_t latent_channels = 4;
  std::vector<int64_t> block_out_channels = {64};
  int64_t layers_per_block = 1;
  int64_t norm_num_groups = 32;
  double scaling_factor = 0.18215;
  double shift_factor = 0;
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;

  // Pixels to one latent, on each side.
  int downscale() const { return 1 << (block_out_channels.size() - 1); }

  // The fields that change the result, in a canonical text: what a fingerprint covers.
  std::string Canonical() const;
};

// As ParseTransformerConfig: unknown fields are refused.
absl::StatusOr<VaeConfig> ParseVaeConfig(absl::string_view json, const std::string& name_for_errors);

}  // namespace flowawr
