// The memory-bound parts of a DiT block as single passes over rows in CPU memory, in f32 or bfloat16; arithmetic is f32
// in both. No LibTorch, no allocation. Each call works on rows or elements [begin, end), so that threads can share a
// tensor; results do not depend on how it is cut.
#pragma once

#include <cstdint>

#include "common/nn/bf16.h"

namespace flowawr::kernels {

// A tensor [batch, tokens, dim], rows contiguous: row r is token r % tokens of sample r / tokens.
struct Tokens {
  int64_t tokens = 0;
  int64_t dim = 0;
};

// One vector [dim] for each sample, `batch_stride` elements apart; 0: one for all.
template <typename Element>
struct PerSample {
  const Element* values = nullptr;
  int64_t batch_stride = 0;
};

// out = (x - mean) / sqrt(variance + epsilon) * (1 + scale) + shift, statistics over each row. `x_batch_stride` as in
// PerSample.
void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                       PerSample<float> shift, PerSample<float> scale, float epsilon, float* out);
void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride,
                       PerSample<Bf16> shift, PerSample<Bf16> scale, float epsilon, Bf16* out);

// The gradient with respect to x.
void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const float* x, PerSample<float> scale,
                               float epsilon, const float* dout, float* dx);
void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const Bf16* x, PerSample<Bf16> scale,
                               float epsilon, const Bf16* dout, Bf16* dx);

// out = x + gate * y; `out` may be `y`.
void GatedResidual(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                   PerSample<float> gate, const float* y, float* out);
void GatedResidual(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride, PerSample<Bf16> gate,
                   const Bf16* y, Bf16* out);

// out = gate * y
void Gate(Tokens size, int64_t begin, int64_t end, PerSample<float> gate, const float* y, float* out);
void Gate(Tokens size, int64_t begin, int64_t end, PerSample<Bf16> gate, const Bf16* y, Bf16* out);

// The tanh approximation of GELU; `out` may be `x`.
void GeluTanh(int64_t begin, int64_t end, const float* x, float* out);
void GeluTanh(int64_t begin, int64_t end, const Bf16* x, Bf16* out);
void GeluTanhBackward(int64_t begin, int64_t end, const float* x, const float* dout, float* dx);
void GeluTanhBackward(int64_t begin, int64_t end, const Bf16* x, const Bf16* dout, Bf16* dx);

// x * sigmoid(1.702 x), CLIP's "QuickGELU"; `out` may be `x`.
void QuickGelu(int64_t begin, int64_t end, const float* x, float* out);
void QuickGelu(int64_t begin, int64_t end, const Bf16* x, Bf16* out);

}  // namespace flowawr::kernels
