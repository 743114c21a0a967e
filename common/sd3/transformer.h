// The velocity model of Stable Diffusion 3 and 3.5: MMDiT-X, diffusers' SD3Transformer2DModel.
//
// Image patches and text tokens run as two streams with their own weights and meet in joint attention. The base weights
// are frozen: gradients reach a LoRA adapter's flat vector and nothing else.
// Source: arXiv 2403.03206; diffusers models/transformers/transformer_sd3.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/nn/lora_import.h"
#include "common/nn/read_progress.h"
#include "common/sd3/transformer_config.h"
#include "common/tensor/placement.h"

namespace flowawr {

// B rows, or 1 where all rows share a value: sigma, prompt_embeds and pooled_prompt_embeds may each have a leading
// dimension of 1 (or be expanded from it). What depends only on shared values is then computed once.
struct TransformerInput {
  at::Tensor latents;               // [B, C, H, W] f32
  at::Tensor sigma;                 // [B] or [1] f32, in [0, 1]
  at::Tensor prompt_embeds;         // [B or 1, T, joint_attention_dim]
  at::Tensor pooled_prompt_embeds;  // [B or 1, pooled_projection_dim]
};

// One of several adapters that are used together.
struct WeightedLora {
  const ImportedLora* adapter = nullptr;
  double scale = 1;
};

struct BoundAdapterState;  // transformer_adapter.h

// An adapter resolved against one transformer. Cheap to copy, immutable, safe to share between threads. A bound adapter
// that is not merged follows later in-place changes of the adapter's vector only after it is bound again.
class BoundAdapter {
 public:
  // Number of linear layers that the adapter changes.
  int64_t modules() const;

 private:
  friend class Transformer;
  std::shared_ptr<const BoundAdapterState> state_;
};

// Stateless after loading and safe to call from several threads at once.
class Transformer {
 public:
  // Reads config.json and diffusion_pytorch_model.safetensors of `folder`, or the shards that
  // diffusion_pytorch_model.safetensors.index.json lists. InvalidArgument lists all missing, unexpected and mis-shaped
  // tensors at once.
  static absl::StatusOr<std::shared_ptr<const Transformer>> Load(const std::string& folder, Placement placement,
                                                                 ReadProgress progress = nullptr);
  // A model of these sizes to measure with: WeightBinder::MadeUp(). It has no fingerprint.
  static std::shared_ptr<const Transformer> MadeUp(const TransformerConfig& config, Placement placement);
  ~Transformer();
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  const TransformerConfig& config() const;

  // Where it computes: inputs must be on that device, in any floating-point type.
  Placement placement() const;

  // Hex SHA-256 of the configuration and all tensors as stored. The first call reads them; see model_fingerprint.h.
  const std::string& fingerprint() const;

  // The layout of an adapter on every attention and feed-forward layer whose name ends with one of `target_suffixes` at
  // a dot. InvalidArgument for a suffix that matches nothing.
  absl::StatusOr<std::shared_ptr<const LoraLayout>> MakeLoraLayout(const std::vector<std::string>& target_suffixes,
                                                                   int64_t rank, double alpha) const;

  // For training: Forward's gradients flow to adapter.flat() if that requires grad. The adapter may be on the host: it is
  // copied to where the transformer is.
  // InvalidArgument if the adapter names a module that is not here or has other sizes.
  absl::StatusOr<BoundAdapter> Bind(const LoraAdapter& adapter) const;

  // For sampling, likewise: W + alpha / rank * B A, computed in f32. No gradient flows to the adapter.
  absl::StatusOr<BoundAdapter> BindMerged(const LoraAdapter& adapter) const;

  // The same of adapters that others made, on any layers: W + sum of scale * alpha / rank * B A, computed in f32.
  // InvalidArgument lists the modules that are not here or have other sizes.
  absl::StatusOr<BoundAdapter> BindMerged(const std::vector<WeightedLora>& adapters) const;

  // The velocity [B, C, H, W] f32. A null `adapter` is the reference policy.
  // Shapes must fit the configuration (checked; a mismatch throws c10::Error).
  // Where gradients are wanted, the first `checkpointed_blocks` blocks keep nothing but their inputs for the backward
  // pass, which computes the rest again: the same bits in a fraction of the memory, for about a third more time.
  at::Tensor Forward(const TransformerInput& input, const BoundAdapter* adapter, int64_t checkpointed_blocks = 0) const;

 private:
  struct Weights;
  explicit Transformer(std::unique_ptr<const Weights> weights);
  LoraAdapter AtPlace(const LoraAdapter& adapter) const;

  std::unique_ptr<const Weights> weights_;
};

}  // namespace flowawr
