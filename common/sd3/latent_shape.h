// Which picture sizes a model takes, and what latents they have. Read from the configurations alone, so that a size is
// refused before any weight is loaded.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/sd3/transformer_config.h"

namespace flowawr {

struct LatentShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// The latents of a height x width image. InvalidArgument when the sides do not divide into patches or exceed the
// position table: says what is accepted, and which sizes near it.
absl::StatusOr<LatentShape> LatentShapeFor(const TransformerConfig& transformer, int vae_downscale, int height,
                                           int width);

// What a diffusers folder says of picture sizes.
struct PictureSizes {
  TransformerConfig transformer;
  int vae_downscale = 1;

  absl::StatusOr<LatentShape> LatentShapeFor(int height, int width) const {
    return flowawr::LatentShapeFor(transformer, vae_downscale, height, width);
  }
  // The side of the square that the model was made for.
  int UsualSide() const { return static_cast<int>(transformer.sample_size) * vae_downscale; }
};

// Reads transformer/config.json and vae/config.json of `model_folder`.
absl::StatusOr<PictureSizes> ReadPictureSizes(const std::string& model_folder);

}  // namespace flowawr
