// GroupNorm and SiLU over images in CPU memory with the channels last, in f32 or bfloat16; arithmetic is f32 in both,
// statistics are added up in f64. No LibTorch, no allocation.
//
// An image is `pixels` rows of `channels`; a group is `channels / groups` columns side by side. Statistics are taken in
// chunks of kMomentPixels, so that results do not depend on how threads share an image.
#pragma once

#include <cstdint>

#include "common/nn/bf16.h"

namespace flowawr::kernels {

inline constexpr int64_t kMomentPixels = 256;

// Of some values: how many, their mean, and the sum of squared differences from it.
struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;

  void Add(const Moments& other);
};

// Writes the moments [groups] of `pixels` pixels, at most kMomentPixels. `scratch` holds 2 * channels floats.
void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const float* x, float* scratch, Moments* moments);
void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const Bf16* x, float* scratch, Moments* moments);

// out = silu(x * slope + offset), both of them one value a channel; `out` may be `x`.
void ScaleSilu(int64_t pixels, int64_t channels, const float* x, const float* slope, const float* offset, float* out);
void ScaleSilu(int64_t pixels, int64_t channels, const Bf16* x, const float* slope, const float* offset, Bf16* out);

}  // namespace flowawr::kernels
