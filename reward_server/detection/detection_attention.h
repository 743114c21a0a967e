// The two attentions of detection_kernels.h on tensors, without gradients. On CPU they run as those kernels, in f32
// whatever the type of the tensors; elsewhere in LibTorch's operations, deformable attention through grid_sample.
// Results of a sample do not depend on its batch. Safe to call from several threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace flowawr {

struct WindowAttentionOptions {
  int64_t heads = 1;
  int64_t window = 7;  // tokens on each side
  int64_t shift = 0;
};

// What is added to the scores between the tokens of a window: [heads, window^2, padded] f32 for AttendInWindows(), from
// the learnt table [(2 window - 1)^2, heads] of relative places.
at::Tensor WindowBias(const at::Tensor& table, int64_t window);

// `qkv` [batch, height, width, 3 * dim], `padding` [3 * dim]: see kernels::WindowAttention(). Gives
// [batch, height, width, dim].
at::Tensor AttendInWindows(const at::Tensor& qkv, const at::Tensor& padding, const at::Tensor& bias,
                           const WindowAttentionOptions& options);
at::Tensor AttendInWindowsByLibTorch(const at::Tensor& qkv, const at::Tensor& padding, const at::Tensor& bias,
                                     const WindowAttentionOptions& options);

struct SamplingOptions {
  std::vector<std::pair<int64_t, int64_t>> levels;  // height and width of each, in the order of their tokens
  int64_t heads = 1;
  int64_t points = 4;
};

// `value` [batch, tokens, dim], `projection` [batch, tokens, heads * levels * points * 3]: see
// kernels::DeformableAttention(). Gives [batch, tokens, dim].
at::Tensor SampleDeformably(const at::Tensor& value, const at::Tensor& projection, const SamplingOptions& options);
at::Tensor SampleDeformablyByLibTorch(const at::Tensor& value, const at::Tensor& projection,
                                      const SamplingOptions& options);

}  // namespace flowawr
