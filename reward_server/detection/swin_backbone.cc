#include "reward_server/detection/swin_backbone.h"

#include <torch/types.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "reward_server/detection/detection_attention.h"

namespace flowawr {
namespace {

// 2 x 2 neighbours side by side, those of a column together; rows and columns that are missing are zeros.
at::Tensor Merge(const at::Tensor& x) {
  const int64_t height = x.size(1), width = x.size(2);
  const at::Tensor even =
      height % 2 == 0 && width % 2 == 0 ? x : at::constant_pad_nd(x, {0, 0, 0, width % 2, 0, height % 2});
  return even.reshape({even.size(0), even.size(1) / 2, 2, even.size(2) / 2, 2, even.size(3)})
      .permute({0, 1, 3, 4, 2, 5})
      .reshape({even.size(0), even.size(1) / 2, even.size(2) / 2, 4 * even.size(3)});
}

}  // namespace

SwinBackbone SwinBackbone::Bind(const SwinConfig& config, const std::string& prefix, WeightBinder& binder) {
  LayerBinder layers(binder);
  SwinBackbone swin;
  swin.config_ = config;
  const std::string patch = prefix + "embeddings.patch_embeddings.projection";
  swin.patch_weight_ = layers.Take(patch + ".weight",
                                   {config.embed_dim, config.num_channels, SwinConfig::kPatch, SwinConfig::kPatch});
  swin.patch_bias_ = layers.Take(patch + ".bias", {config.embed_dim});
  swin.patch_norm_ = layers.TakeLayerNorm(prefix + "embeddings.norm", config.embed_dim);
  for (size_t s = 0; s < SwinConfig::kStages; ++s) {
    const std::string name = absl::StrCat(prefix, "encoder.layers.", s);
    const int64_t channels = config.Channels(s);
    Stage& stage = swin.stages_.emplace_back();
    for (int64_t i = 0; i < config.depths[s]; ++i)
      stage.blocks.push_back(BindBlock(config, s, i, absl::StrCat(name, ".blocks.", i), layers));
    stage.norm_out = layers.TakeLayerNorm(absl::StrCat(prefix, "hidden_states_norms.stage", s + 1), channels);
    if (s + 1 == SwinConfig::kStages) break;
    stage.merge_norm = layers.TakeLayerNorm(name + ".downsample.norm", 4 * channels);
    stage.merge = layers.TakeLinear(name + ".downsample.reduction", 4 * channels, 2 * channels, /*has_bias=*/false);
  }
  return swin;
}

SwinBackbone::Block SwinBackbone::BindBlock(const SwinConfig& config, size_t stage, int64_t index,
                                            const std::string& name, LayerBinder& layers) {
  const int64_t channels = config.Channels(stage), window = config.window_size;
  Block block;
  block.heads = config.num_heads[stage];
  block.shift = index % 2 == 0 ? 0 : window / 2;
  block.norm_before = layers.TakeLayerNorm(name + ".layernorm_before", channels, config.layer_norm_eps);
  block.norm_after = layers.TakeLayerNorm(name + ".layernorm_after", channels, config.layer_norm_eps);
  const std::string attention = name + ".attention.self.";
  block.qkv = layers.TakeStacked(
      {{attention + "query", channels}, {attention + "key", channels}, {attention + "value", channels}}, channels,
      config.qkv_bias);
  const at::Tensor table = layers.Take(attention + "relative_position_bias_table",
                                       {(2 * window - 1) * (2 * window - 1), block.heads});
  block.out = layers.TakeLinear(name + ".attention.output.dense", channels, channels);
  block.fc1 = layers.TakeLinear(name + ".intermediate.dense", channels, config.Hidden(stage));
  block.fc2 = layers.TakeLinear(name + ".output.dense", config.Hidden(stage), channels);
  if (!table.defined() || !block.qkv.weight.defined()) return block;  // Finish() will name what is missing
  block.window_bias = WindowBias(table, window);
  block.padding = block.qkv.bias.defined() ? block.qkv.bias : at::zeros({3 * channels}, block.qkv.weight.options());
  return block;
}

absl::StatusOr<std::vector<at::Tensor>> SwinBackbone::Forward(const at::Tensor& pixels, KeepGoing keep_going) const {
  constexpr int64_t kPatch = SwinConfig::kPatch;
  const int64_t below = (kPatch - pixels.size(2) % kPatch) % kPatch;
  const int64_t right = (kPatch - pixels.size(3) % kPatch) % kPatch;
  const at::Tensor whole = below + right == 0 ? pixels : at::constant_pad_nd(pixels, {0, right, 0, below});
  // Patches do not overlap: their convolution is a product.
  const at::Tensor patches =
      whole.reshape({whole.size(0), whole.size(1), whole.size(2) / kPatch, kPatch, whole.size(3) / kPatch, kPatch})
          .permute({0, 2, 4, 1, 3, 5})
          .reshape({whole.size(0), whole.size(2) / kPatch, whole.size(3) / kPatch, -1});
  at::Tensor x = patch_norm_(AffineProduct(patches, patch_weight_.flatten(1), patch_bias_));
  std::vector<at::Tensor> maps;
  for (const Stage& stage : stages_) {
    for (const Block& block : stage.blocks) {
      FLOWAWR_RETURN_IF_ERROR(keep_going());
      x = Run(block, std::move(x));
    }
    maps.push_back(stage.norm_out(x));
    if (stage.merge.weight.defined()) x = stage.merge(stage.merge_norm(Merge(x)));
  }
  return maps;
}

at::Tensor SwinBackbone::Run(const Block& block, at::Tensor x) const {
  const at::Tensor attended =
      AttendInWindows(block.qkv(block.norm_before(x)), block.padding, block.window_bias,
                      {.heads = block.heads, .window = config_.window_size, .shift = block.shift});
  x = block.out(attended).add_(x);
  at::Tensor hidden = block.fc1(block.norm_after(x));
  at::gelu_(hidden);
  return block.fc2(hidden).add_(x);
}

}  // namespace flowawr
