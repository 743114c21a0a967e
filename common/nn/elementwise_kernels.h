// The memory-bound parts of a DiT block as single passes over f32 rows in CPU memory. No LibTorch, no allocation, one
// thread; a call's result does not depend on how rows are spread over calls.
#pragma once

#include <cstdint>

namespace flowawr::kernels {

// A tensor [batch, tokens, dim], rows contiguous. A batch stride of 0: every sample is the same one.
struct Tokens {
  int64_t batch = 0;
  int64_t tokens = 0;
  int64_t dim = 0;
};

// One vector [dim] for each sample, `batch_stride` floats apart; 0: one for all.
struct PerSample {
  const float* values = nullptr;
  int64_t batch_stride = 0;
};

// out = (x - mean) / sqrt(variance + epsilon) * (1 + scale) + shift, statistics over each row.
void LayerNormModulate(Tokens size, const float* x, int64_t x_batch_stride, PerSample shift, PerSample scale,
                       float epsilon, float* out);
// The gradient with respect to x.
void LayerNormModulateBackward(Tokens size, const float* x, PerSample scale, float epsilon, const float* dout,
                               float* dx);

// out = x + gate * y
void GatedResidual(Tokens size, const float* x, int64_t x_batch_stride, PerSample gate, const float* y, float* out);
// out = gate * y
void Gate(Tokens size, PerSample gate, const float* y, float* out);

// The tanh approximation of GELU; `out` may be `x`.
void GeluTanh(int64_t size, const float* x, float* out);
void GeluTanhBackward(int64_t size, const float* x, const float* dout, float* dx);

}  // namespace flowawr::kernels
