#include "common/sd3/model_size.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr int64_t kTimestepChannels = 256;

// As an adapter's layout reads suffixes: whole parts of a name.
bool IsTarget(const std::string& name, const LoraTargets& lora) {
  for (const std::string& suffix : lora.suffixes) {
    if (name == suffix || absl::EndsWith(name, absl::StrCat(".", suffix))) return true;
  }
  return false;
}

LinearSize Stack(const LoraTargets& lora, int64_t in, const std::vector<std::pair<std::string, int64_t>>& layers) {
  LinearSize size{.in = in};
  for (const auto& [name, out] : layers) {
    size.out += out;
    if (!IsTarget(name, lora)) continue;
    ++size.adapted_parts;
    size.adapted_out += out;
  }
  return size;
}

int64_t ConvValues(int64_t in, int64_t out, int64_t kernel) { return in * out * kernel * kernel + out; }

int64_t ResnetValues(int64_t in, int64_t out) {
  return 2 * in + 2 * out + ConvValues(in, out, 3) + ConvValues(out, out, 3) + (in == out ? 0 : ConvValues(in, out, 1));
}

}  // namespace

std::vector<const LinearSize*> BlockSize::Linears() const {
  return {&qkv,           &to_out,         &ff_in,    &ff_out,      &context_qkv,     &context_to_out,
          &context_ff_in, &context_ff_out, &dual_qkv, &dual_to_out, &unused_context_q};
}

BlockSize SizeOfBlock(const TransformerConfig& config, int64_t block, const LoraTargets& lora) {
  const int64_t dim = config.inner_dim();
  const std::string name = absl::StrCat("transformer_blocks.", block, "."), attn = name + "attn.",
                    attn2 = name + "attn2.";
  BlockSize size{.context_pre_only = block == config.num_layers - 1, .is_dual = config.IsDual(block)};
  size.qkv = Stack(lora, dim, {{attn + "to_q", dim}, {attn + "to_k", dim}, {attn + "to_v", dim}});
  size.to_out = Stack(lora, dim, {{attn + "to_out.0", dim}});
  size.ff_in = Stack(lora, dim, {{name + "ff.net.0.proj", 4 * dim}});
  size.ff_out = Stack(lora, 4 * dim, {{name + "ff.net.2", dim}});
  if (size.is_dual) {
    size.dual_qkv = Stack(lora, dim, {{attn2 + "to_q", dim}, {attn2 + "to_k", dim}, {attn2 + "to_v", dim}});
    size.dual_to_out = Stack(lora, dim, {{attn2 + "to_out.0", dim}});
  }
  if (size.context_pre_only) {
    size.unused_context_q = Stack(lora, dim, {{attn + "add_q_proj", dim}});
    size.context_qkv = Stack(lora, dim, {{attn + "add_k_proj", dim}, {attn + "add_v_proj", dim}});
  } else {
    size.context_qkv =
        Stack(lora, dim, {{attn + "add_q_proj", dim}, {attn + "add_k_proj", dim}, {attn + "add_v_proj", dim}});
    size.context_to_out = Stack(lora, dim, {{attn + "to_add_out", dim}});
    size.context_ff_in = Stack(lora, dim, {{name + "ff_context.net.0.proj", 4 * dim}});
    size.context_ff_out = Stack(lora, 4 * dim, {{name + "ff_context.net.2", dim}});
  }
  return size;
}

int64_t ModulationWidth(const TransformerConfig& config) {
  int64_t vectors = 2;  // of the output's norm
  for (int64_t i = 0; i < config.num_layers; ++i)
    vectors += (config.IsDual(i) ? 9 : 6) + (i == config.num_layers - 1 ? 2 : 6);
  return vectors * config.inner_dim();
}

AdapterSize SizeOfAdapter(const TransformerConfig& config, const LoraTargets& lora) {
  AdapterSize size;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const BlockSize block = SizeOfBlock(config, i, lora);
    for (const LinearSize* linear : block.Linears()) {
      size.values += linear->LoraValues(lora.rank);
      size.modules += linear->adapted_parts;
      if (linear->is_adapted()) size.folded_weights += linear->weights();
    }
  }
  return size;
}

int64_t TransformerValues(const TransformerConfig& config) {
  const int64_t dim = config.inner_dim();
  const int64_t patch = config.patch_size * config.patch_size;
  const auto linear = [](int64_t in, int64_t out) { return in * out + out; };
  int64_t values = linear(config.in_channels * patch, dim);
  values += config.pos_embed_max_size * config.pos_embed_max_size * dim;
  values += linear(kTimestepChannels, dim) + linear(config.pooled_projection_dim, dim) + 2 * linear(dim, dim);
  values += linear(config.joint_attention_dim, dim);
  values += linear(dim, ModulationWidth(config));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const BlockSize block = SizeOfBlock(config, i, {});
    for (const LinearSize* layer : block.Linears()) values += layer->values();
    // The last block keeps the norm of the queries that it does not compute.
    if (config.has_qk_norm) values += (block.is_dual ? 6 : 4) * config.attention_head_dim;
  }
  return values + linear(dim, patch * config.out_channels);
}

int64_t VaeValues(const VaeConfig& config) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  const int64_t deepest = channels.back(), latents = config.latent_channels;
  const int64_t attention = config.mid_block_add_attention ? 2 * deepest + 4 * (deepest * deepest + deepest) : 0;
  const int64_t middle = 2 * ResnetValues(deepest, deepest) + attention;
  int64_t values = 2 * middle;
  values += ConvValues(config.in_channels, channels.front(), 3) + ConvValues(deepest, 2 * latents, 3) + 2 * deepest;
  values +=
      ConvValues(latents, deepest, 3) + ConvValues(channels.front(), config.out_channels, 3) + 2 * channels.front();
  int64_t down = channels.front(), up = deepest;
  for (size_t i = 0; i < channels.size(); ++i) {
    const int64_t down_out = channels[i], up_out = channels[channels.size() - 1 - i];
    values += ResnetValues(down, down_out) + (config.layers_per_block - 1) * ResnetValues(down_out, down_out);
    values += ResnetValues(up, up_out) + config.layers_per_block * ResnetValues(up_out, up_out);
    if (i + 1 < channels.size()) values += ConvValues(down_out, down_out, 3) + ConvValues(up_out, up_out, 3);
    down = down_out;
    up = up_out;
  }
  if (config.use_quant_conv) values += ConvValues(2 * latents, 2 * latents, 1);
  if (config.use_post_quant_conv) values += ConvValues(latents, latents, 1);
  return values;
}

int64_t ClipTextValues(const ClipTextConfig& config) {
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  const int64_t layer = 4 * width + 4 * (width * width + width) + 2 * width * inner + inner + width;
  return (config.vocab_size + config.max_position_embeddings) * width + config.num_hidden_layers * layer + 2 * width +
         config.projection_dim * width;
}

int64_t T5Values(const T5Config& config) {
  const int64_t width = config.d_model, inner = config.num_heads * config.d_kv;
  const int64_t layer = 2 * width + 4 * width * inner + (config.is_gated ? 3 : 2) * width * config.d_ff;
  return config.vocab_size * width + config.num_layers * layer +
         config.relative_attention_num_buckets * config.num_heads + width;
}

}  // namespace flowawr
