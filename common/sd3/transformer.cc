#include "common/sd3/transformer.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/fused_ops.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/transformer_adapter.h"
#include "common/sd3/transformer_block.h"
#include "common/sd3/transformer_weights.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

// Rows that are one row expanded become that one row, so that what depends on it is computed once.
at::Tensor OnceIfShared(const at::Tensor& x) { return x.size(0) > 1 && x.stride(0) == 0 ? x.narrow(0, 0, 1) : x; }

// Of vectors [B, dim]. What is left over of a tensor after whole vector registers, LibTorch computes by other code on
// the CPU, so vectors that do not fill them are taken one by one there: no sample depends on its batch.
at::Tensor Silu(const at::Tensor& vectors) {
  constexpr int64_t kWholeRegisters = 64;
  if (!vectors.is_cpu() || vectors.size(1) % kWholeRegisters == 0) return at::silu(vectors);
  std::vector<at::Tensor> rows;
  for (const at::Tensor& row : vectors.split(1)) rows.push_back(at::silu(row));
  return at::cat(rows);
}

// [B] to [B, 256] f32: cosines, then sines, of 1000 sigma at geometric frequencies.
at::Tensor TimestepEmbedding(const at::Tensor& sigma) {
  constexpr int64_t kHalf = 128;
  const at::Tensor frequencies =
      at::exp(at::arange(kHalf, sigma.options().dtype(at::kFloat)) * -std::log(10000.0) / static_cast<double>(kHalf));
  const at::Tensor angles = (sigma.to(at::kFloat) * 1000).unsqueeze(1) * frequencies;
  return at::cat({at::cos(angles), at::sin(angles)}, 1);
}

// [B, C, H, W] to [B, H/p * W/p, C * p * p], as a convolution of stride p sees its windows.
at::Tensor Patchify(const at::Tensor& latents, int64_t patch) {
  return latents.unflatten(3, {-1, patch})
      .unflatten(2, {-1, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .flatten(3)
      .flatten(1, 2);
}

// [B, h * w, p * p * C] to [B, C, h * p, w * p].
at::Tensor Unpatchify(const at::Tensor& tokens, int64_t h, int64_t w, int64_t patch) {
  return tokens.view({tokens.size(0), h, w, patch, patch, -1}).permute({0, 5, 1, 3, 2, 4}).flatten(4).flatten(2, 3);
}

}  // namespace

int64_t BoundAdapter::modules() const { return state_ == nullptr ? 0 : state_->modules; }

Transformer::Transformer(std::unique_ptr<const Weights> weights) : weights_(std::move(weights)) {}
Transformer::~Transformer() = default;

absl::StatusOr<std::shared_ptr<const Transformer>> Transformer::Load(const std::string& folder, Placement placement,
                                                                     ReadProgress progress) {
  const at::NoGradGuard no_grad;
  const std::string config_path = absl::StrCat(folder, "/config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  auto weights = std::make_unique<Weights>();
  FLOWAWR_ASSIGN_OR_RETURN(weights->config, ParseTransformerConfig(json, config_path));
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder,
                           WeightBinder::Open(folder, "diffusion_pytorch_model", placement, std::move(progress)));
  weights->Bind(binder);
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  weights->fingerprint.emplace(weights->config.Canonical(), binder.tensors());
  return std::shared_ptr<const Transformer>(new Transformer(std::move(weights)));
}

std::shared_ptr<const Transformer> Transformer::MadeUp(const TransformerConfig& config, Placement placement) {
  const at::NoGradGuard no_grad;
  auto weights = std::make_unique<Weights>();
  weights->config = config;
  WeightBinder binder = WeightBinder::MadeUp(placement);
  weights->Bind(binder);
  return std::shared_ptr<const Transformer>(new Transformer(std::move(weights)));
}

const TransformerConfig& Transformer::config() const { return weights_->config; }
Placement Transformer::placement() const {
  return {weights_->proj_out.weight.scalar_type(), weights_->proj_out.weight.device()};
}
const std::string& Transformer::fingerprint() const { return weights_->fingerprint->Hex(); }

absl::StatusOr<std::shared_ptr<const LoraLayout>> Transformer::MakeLoraLayout(
    const std::vector<std::string>& target_suffixes, int64_t rank, double alpha) const {
  return LayoutFor(weights_->AdaptableLinears(), target_suffixes, rank, alpha);
}

LoraAdapter Transformer::AtPlace(const LoraAdapter& adapter) const {
  return LoraAdapter(adapter.shared_layout(), MovedTo(adapter.flat(), placement().device));
}

absl::StatusOr<BoundAdapter> Transformer::Bind(const LoraAdapter& adapter) const {
  BoundAdapter bound;
  FLOWAWR_ASSIGN_OR_RETURN(bound.state_, BindTo(weights_->AdaptableLinears(), AtPlace(adapter), /*trains=*/true));
  return bound;
}

absl::StatusOr<BoundAdapter> Transformer::BindMerged(const LoraAdapter& adapter) const {
  BoundAdapter bound;
  FLOWAWR_ASSIGN_OR_RETURN(bound.state_, BindTo(weights_->AdaptableLinears(), AtPlace(adapter), /*trains=*/false));
  return bound;
}

absl::StatusOr<BoundAdapter> Transformer::BindMerged(const std::vector<WeightedLora>& adapters) const {
  BoundAdapter bound;
  FLOWAWR_ASSIGN_OR_RETURN(bound.state_, BindImported(weights_->AllLinears(), adapters));
  return bound;
}

at::Tensor Transformer::Forward(const TransformerInput& input, const BoundAdapter* adapter,
                                int64_t checkpointed_blocks) const {
  const Weights& w = *weights_;
  const int64_t batch = input.latents.size(0);
  const int64_t h = input.latents.size(2) / w.config.patch_size;
  const int64_t columns = input.latents.size(3) / w.config.patch_size;
  TORCH_CHECK(input.latents.size(1) == w.config.in_channels && h * w.config.patch_size == input.latents.size(2) &&
                  columns * w.config.patch_size == input.latents.size(3) && h <= w.config.pos_embed_max_size &&
                  columns <= w.config.pos_embed_max_size,
              "latents ", input.latents.sizes(), " do not fit the transformer: ", w.config.in_channels,
              " channels, sides that are multiples of ", w.config.patch_size, " and at most ",
              w.config.patch_size * w.config.pos_embed_max_size);
  for (const at::Tensor* shared : {&input.sigma, &input.prompt_embeds, &input.pooled_prompt_embeds}) {
    TORCH_CHECK(shared->size(0) == 1 || shared->size(0) == batch, "an input has ", shared->size(0), " rows for ", batch,
                " latents; expected that many or 1");
  }
  const ActiveAdapter linear(adapter == nullptr ? nullptr : adapter->state_.get());
  const at::ScalarType dtype = w.proj_out.weight.scalar_type();

  // Both streams' tokens.
  const int64_t top = (w.config.pos_embed_max_size - h) / 2;
  const int64_t left = (w.config.pos_embed_max_size - columns) / 2;
  at::Tensor image = linear(w.patch_projection, Patchify(input.latents.to(dtype), w.config.patch_size)) +
                     w.positions.narrow(0, top, h).narrow(1, left, columns).flatten(0, 1);
  at::Tensor text = linear(w.context_embedder, OnceIfShared(input.prompt_embeds).to(dtype));

  // What every AdaLN layer is steered by: the noise level and the pooled text.
  const at::Tensor time =
      linear(w.timestep_out, Silu(linear(w.timestep_in, TimestepEmbedding(OnceIfShared(input.sigma)).to(dtype))));
  const at::Tensor pooled =
      linear(w.pooled_out, Silu(linear(w.pooled_in, OnceIfShared(input.pooled_prompt_embeds).to(dtype))));
  Modulation modulation(linear(w.modulation, Silu(time + pooled)), w.config.inner_dim());

  int64_t index = 0;
  for (const JointBlock& block : w.blocks) {
    const bool is_checkpointed = index++ < checkpointed_blocks && at::GradMode::is_enabled();
    (is_checkpointed ? RunCheckpointedBlock : RunBlock)(block, linear, w.config.num_attention_heads, modulation,
                                                        {image, text});
  }
  const at::Tensor scale = modulation.Next();  // AdaLayerNormContinuous: the scale comes first
  const at::Tensor out = linear(w.proj_out, LayerNormModulate(image, /*shift=*/modulation.Next(), scale));
  return Unpatchify(out, h, columns, w.config.patch_size).to(at::kFloat);
}

}  // namespace flowawr
