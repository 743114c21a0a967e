// The two attentions of Mask2Former that LibTorch has no fast form of on CPU: over windows of an image's tokens, and at
// sampled points. f32, no LibTorch. Each call does the work items [begin, end), so that threads can share an image;
// results do not depend on how it is cut.
#pragma once

#include <cstdint>

namespace flowawr::kernels {

// Swin's windows over the tokens of a batch of images [batch, height, width]. The grid is padded below and on the right
// to whole windows and rolled up and left by `shift`.
struct Windows {
  int64_t height = 0;
  int64_t width = 0;
  int64_t window = 0;  // tokens on each side
  int64_t shift = 0;   // 0: not rolled
  int64_t heads = 0;
  int64_t head_dim = 0;

  int64_t tokens() const { return window * window; }
  int64_t rows() const { return (height + window - 1) / window; }
  int64_t columns() const { return (width + window - 1) / window; }
  // Keys in one row of the position bias: tokens() and some padding.
  int64_t padded_tokens() const { return (tokens() + 15) / 16 * 16; }
};

// Softmax attention of every token over those of its window. An item is a window of a sample:
// sample * rows() * columns() + row * columns() + column.
//
// `qkv` is [batch, height, width, 3 * heads * head_dim], queries, keys and values of a token side by side; `padding`
// [3 * heads * head_dim] those of a token outside the image. `bias` [heads, tokens(), padded_tokens()] is added to the
// scaled scores; its padding is -1e30. In a rolled grid, -100 is added between tokens that come from different sides.
// `out` is [batch, height, width, heads * head_dim].
void WindowAttention(const Windows& size, int64_t begin, int64_t end, const float* qkv, const float* padding,
                     const float* bias, float* out);

// One of the feature maps that are sampled: its tokens, row by row, begin at token `first` of a sample.
struct SampledLevel {
  int64_t height = 0;
  int64_t width = 0;
  int64_t first = 0;
};
inline constexpr int64_t kMostSampledLevels = 8;
inline constexpr int64_t kMostSamples = 64;  // levels * points

struct Sampling {
  SampledLevel levels[kMostSampledLevels];
  int64_t level_count = 0;
  int64_t tokens = 0;  // of all levels
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t points = 0;  // a level
};

// Multi-scale deformable attention (Deformable DETR, equation 3): every token looks at `points` places of every level,
// bilinear between the pixels, zeros outside. An item is a token of a sample: sample * tokens + token.
//
// `value` is [batch, tokens, heads * head_dim]. A row of `projection` holds the offsets in pixels of the sampled level,
// [heads, levels, points, 2] as x and y from the token's own place, then the logits [heads, levels * points] of the
// weights. `out` is as `value`.
void DeformableAttention(const Sampling& size, int64_t begin, int64_t end, const float* value, const float* projection,
                         float* out);

}  // namespace flowawr::kernels
