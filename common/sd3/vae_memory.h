// How much memory decoding takes beside the decoder's weights, from the configuration alone: vae.cc gone through layer
// by layer on a MemoryLedger. As a rule of thumb, with 128 channels at the full size: six feature maps of that size.
#pragma once

#include <cstdint>

#include "common/sd3/vae_config.h"

namespace flowawr {

// Peak of Decode() for latents [rows, C, height, width]; `bytes` of one value of the autoencoder. The pictures, f32,
// are included.
int64_t DecodeMemory(const VaeConfig& config, int64_t rows, int64_t latent_height, int64_t latent_width, int64_t bytes);

}  // namespace flowawr
