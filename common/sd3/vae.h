// The image autoencoder of Stable Diffusion: diffusers' AutoencoderKL.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/read_progress.h"
#include "common/sd3/vae_config.h"
#include "common/tensor/placement.h"

namespace flowawr {

class WeightBinder;

// Frozen; safe to call from several threads at once. No gradients.
class Vae {
 public:
  // Reads config.json and diffusion_pytorch_model.safetensors of `folder`; InvalidArgument lists all missing,
  // unexpected and mis-shaped tensors at once.
  static absl::StatusOr<std::shared_ptr<const Vae>> Load(const std::string& folder, Placement placement,
                                                         ReadProgress progress = nullptr);
  // A model of these sizes to measure with: WeightBinder::MadeUp().
  static std::shared_ptr<const Vae> MadeUp(const VaeConfig& config, Placement placement);
  ~Vae();
  Vae(const Vae&) = delete;
  Vae& operator=(const Vae&) = delete;

  const VaeConfig& config() const;

  // Pixels to one latent, on each side.
  int downscale() const;

  // Latents [B, latent_channels, h, w] as the transformer sees them (scaled and shifted) to images
  // [B, 3, h * downscale, w * downscale] f32 in [0, 1], in memory with the channels last.
  at::Tensor Decode(const at::Tensor& latents) const;

  // Images [B, 3, H, W] in [0, 1] to the mean of the latent distribution, scaled and shifted, f32.
  at::Tensor EncodeMean(const at::Tensor& images) const;

 private:
  struct Weights;
  explicit Vae(std::unique_ptr<const Weights> weights);
  static std::unique_ptr<const Weights> Bind(const VaeConfig& config, Placement placement, WeightBinder& binder);
  std::unique_ptr<const Weights> weights_;
};

}  // namespace flowawr
