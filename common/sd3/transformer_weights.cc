#include "common/sd3/transformer_weights.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

struct Layer {
  std::string name;
  int64_t width;
};

// Binds one linear layer, or several of the same input into one.
FrozenLinear TakeLinear(WeightBinder& binder, int64_t in, const std::vector<Layer>& layers) {
  FrozenLinear linear;
  std::vector<WeightBinder::Part> weights, biases;
  for (const Layer& layer : layers) {
    linear.names.push_back(layer.name);
    linear.widths.push_back(layer.width);
    weights.push_back({layer.name + ".weight", layer.width});
    biases.push_back({layer.name + ".bias", layer.width});
  }
  linear.weight = binder.TakeStacked(weights, {in});
  linear.bias = binder.TakeStacked(biases, {}).Joined();
  if (linear.weight.parts().size() == 1) linear.transposed_weight = TransposeIfSmall(linear.weight.Joined());
  return linear;
}

FeedForwardWeights TakeFeedForward(WeightBinder& binder, const std::string& name, int64_t dim) {
  return {.in = TakeLinear(binder, dim, {{name + ".net.0.proj", 4 * dim}}),
          .out = TakeLinear(binder, 4 * dim, {{name + ".net.2", dim}})};
}

}  // namespace

void Transformer::Weights::Bind(WeightBinder& binder) {
  const int64_t dim = config.inner_dim();
  const int64_t patch = config.patch_size;
  const auto take_norms = [&](const std::string& q, const std::string& k) -> QkNorm {
    if (!config.has_qk_norm) return {};
    const int64_t head_dim = config.attention_head_dim;
    return {binder.Take(q + ".weight", {head_dim}), binder.Take(k + ".weight", {head_dim})};
  };

  patch_projection.names = {"pos_embed.proj"};
  patch_projection.widths = {dim};
  const at::Tensor patches = binder.Take("pos_embed.proj.weight", {dim, config.in_channels, patch, patch});
  if (patches.defined()) patch_projection.weight = patches.flatten(1).contiguous();
  patch_projection.bias = binder.Take("pos_embed.proj.bias", {dim});
  const int64_t side = config.pos_embed_max_size;
  positions = binder.Take("pos_embed.pos_embed", {1, side * side, dim});
  if (positions.defined()) positions = positions.view({side, side, dim});

  constexpr int64_t kTimestepChannels = 256;
  timestep_in = TakeLinear(binder, kTimestepChannels, {{"time_text_embed.timestep_embedder.linear_1", dim}});
  timestep_out = TakeLinear(binder, dim, {{"time_text_embed.timestep_embedder.linear_2", dim}});
  pooled_in = TakeLinear(binder, config.pooled_projection_dim, {{"time_text_embed.text_embedder.linear_1", dim}});
  pooled_out = TakeLinear(binder, dim, {{"time_text_embed.text_embedder.linear_2", dim}});
  context_embedder = TakeLinear(binder, config.joint_attention_dim, {{"context_embedder", dim}});

  std::vector<Layer> modulations;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string name = absl::StrCat("transformer_blocks.", i, ".");
    const std::string attn = name + "attn.";
    JointBlock block;
    block.context_pre_only = i == config.num_layers - 1;
    modulations.push_back({name + "norm1.linear", (config.IsDual(i) ? 9 : 6) * dim});
    modulations.push_back({name + "norm1_context.linear", (block.context_pre_only ? 2 : 6) * dim});

    block.qkv = TakeLinear(binder, dim, {{attn + "to_q", dim}, {attn + "to_k", dim}, {attn + "to_v", dim}});
    block.norm = take_norms(attn + "norm_q", attn + "norm_k");
    block.to_out = TakeLinear(binder, dim, {{attn + "to_out.0", dim}});
    block.ff = TakeFeedForward(binder, name + "ff", dim);
    if (config.IsDual(i)) {
      const std::string attn2 = name + "attn2.";
      block.dual = {
          .qkv = TakeLinear(binder, dim, {{attn2 + "to_q", dim}, {attn2 + "to_k", dim}, {attn2 + "to_v", dim}}),
          .norm = take_norms(attn2 + "norm_q", attn2 + "norm_k"),
          .to_out = TakeLinear(binder, dim, {{attn2 + "to_out.0", dim}})};
    }

    const Layer context_q{attn + "add_q_proj", dim};
    const Layer context_k{attn + "add_k_proj", dim};
    const Layer context_v{attn + "add_v_proj", dim};
    block.context_norm = take_norms(attn + "norm_added_q", attn + "norm_added_k");
    if (block.context_pre_only) {
      block.unused_context_q = TakeLinear(binder, dim, {context_q});
      block.context_qkv = TakeLinear(binder, dim, {context_k, context_v});
    } else {
      block.context_qkv = TakeLinear(binder, dim, {context_q, context_k, context_v});
      block.context_to_out = TakeLinear(binder, dim, {{attn + "to_add_out", dim}});
      block.context_ff = TakeFeedForward(binder, name + "ff_context", dim);
    }
    blocks.push_back(std::move(block));
  }
  modulations.push_back({"norm_out.linear", 2 * dim});
  modulation = TakeLinear(binder, dim, modulations);
  if (modulation.weight.parts().size() == 1)
    modulation.transposed_weight = TransposeIfSmall(modulation.weight.Joined(), /*is_for_few_rows=*/true);
  proj_out = TakeLinear(binder, dim, {{"proj_out", patch * patch * config.out_channels}});
}

std::vector<const FrozenLinear*> JointBlock::AdaptableLinears() const {
  std::vector<const FrozenLinear*> linears = {&qkv,   &to_out, &unused_context_q, &context_qkv,   &context_to_out,
                                              &ff.in, &ff.out, &context_ff.in,    &context_ff.out};
  if (dual) linears.insert(linears.end(), {&dual->qkv, &dual->to_out});
  return linears;
}

std::vector<const FrozenLinear*> Transformer::Weights::AdaptableLinears() const {
  std::vector<const FrozenLinear*> linears;
  for (const JointBlock& block : blocks) {
    const std::vector<const FrozenLinear*> of_block = block.AdaptableLinears();
    linears.insert(linears.end(), of_block.begin(), of_block.end());
  }
  return linears;
}

std::vector<const FrozenLinear*> Transformer::Weights::AllLinears() const {
  std::vector<const FrozenLinear*> linears = AdaptableLinears();
  linears.insert(linears.end(), {&patch_projection, &timestep_in, &timestep_out, &pooled_in, &pooled_out,
                                 &context_embedder, &modulation, &proj_out});
  return linears;
}

}  // namespace flowawr
