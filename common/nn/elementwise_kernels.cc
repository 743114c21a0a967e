#include "common/nn/elementwise_kernels.h"

#include <cmath>

#include "common/nn/vectorised.h"

namespace flowawr::kernels {
namespace {

struct Statistics {
  float mean;
  float inverse_deviation;
};

template <typename T>
FLOWAWR_ALWAYS_INLINE Statistics RowStatistics(const T* x, int64_t dim, float epsilon) {
  const int64_t whole = dim / kLanes * kLanes;
  Lanes sums = {};
  for (int64_t i = 0; i < whole; i += kLanes) sums += LoadLanes(x + i);
  float sum = SumLanes(sums);
  for (int64_t i = whole; i < dim; ++i) sum += Load(x + i);
  const float mean = sum / static_cast<float>(dim);
  Lanes squares = {};
  for (int64_t i = 0; i < whole; i += kLanes) squares += (LoadLanes(x + i) - mean) * (LoadLanes(x + i) - mean);
  float square = SumLanes(squares);
  for (int64_t i = whole; i < dim; ++i) square += (Load(x + i) - mean) * (Load(x + i) - mean);
  return {mean, 1.0f / std::sqrt(square / static_cast<float>(dim) + epsilon)};
}

// gelu(x) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
constexpr float kTwoRootTwoOverPi = 1.5957691216f;
constexpr float kCubic = 0.044715f;

FLOWAWR_ALWAYS_INLINE float GeluGate(float x) {
  return 1.0f / (1.0f + Exp(-kTwoRootTwoOverPi * x * (1.0f + kCubic * x * x)));
}

template <typename T>
FLOWAWR_ALWAYS_INLINE const T* Of(const PerSample<T>& vectors, int64_t sample) {
  return vectors.values + sample * vectors.batch_stride;
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void LayerNormModulateRows(Tokens size, int64_t begin, int64_t end, const T* x,
                                                 int64_t x_batch_stride, PerSample<T> shift, PerSample<T> scale,
                                                 float epsilon, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t b = r / size.tokens;
    const T* sample_shift = Of(shift, b);
    const T* sample_scale = Of(scale, b);
    const T* row = x + b * x_batch_stride + r % size.tokens * size.dim;
    T* out_row = out + r * size.dim;
    const Statistics s = RowStatistics(row, size.dim, epsilon);
#pragma omp simd
    for (int64_t i = 0; i < size.dim; ++i) {
      Store((Load(row + i) - s.mean) * s.inverse_deviation * (1.0f + Load(sample_scale + i)) + Load(sample_shift + i),
            out_row + i);
    }
  }
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void LayerNormModulateBackwardRows(Tokens size, int64_t begin, int64_t end, const T* x,
                                                         PerSample<T> scale, float epsilon, const T* dout, T* dx) {
  const float inverse_dim = 1.0f / static_cast<float>(size.dim);
  for (int64_t r = begin; r < end; ++r) {
    const T* sample_scale = Of(scale, r / size.tokens);
    const T* row = x + r * size.dim;
    const T* dout_row = dout + r * size.dim;
    T* dx_row = dx + r * size.dim;
    const Statistics s = RowStatistics(row, size.dim, epsilon);
    float sum = 0;
    float projection = 0;
#pragma omp simd reduction(+ : sum, projection)
    for (int64_t i = 0; i < size.dim; ++i) {
      const float g = Load(dout_row + i) * (1.0f + Load(sample_scale + i));
      sum += g;
      projection += g * (Load(row + i) - s.mean);
    }
    const float mean_g = sum * inverse_dim;
    const float slope = projection * inverse_dim * s.inverse_deviation * s.inverse_deviation;
#pragma omp simd
    for (int64_t i = 0; i < size.dim; ++i) {
      const float g = Load(dout_row + i) * (1.0f + Load(sample_scale + i));
      Store((g - mean_g - (Load(row + i) - s.mean) * slope) * s.inverse_deviation, dx_row + i);
    }
  }
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void GatedResidualRows(Tokens size, int64_t begin, int64_t end, const T* x,
                                             int64_t x_batch_stride, PerSample<T> gate, const T* y, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t b = r / size.tokens;
    const T* sample_gate = Of(gate, b);
    const T* x_row = x + b * x_batch_stride + r % size.tokens * size.dim;
    const int64_t at = r * size.dim;
#pragma omp simd
    for (int64_t i = 0; i < size.dim; ++i)
      Store(Load(x_row + i) + Load(sample_gate + i) * Load(y + at + i), out + at + i);
  }
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void GateRows(Tokens size, int64_t begin, int64_t end, PerSample<T> gate, const T* y, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    const T* sample_gate = Of(gate, r / size.tokens);
    const int64_t at = r * size.dim;
#pragma omp simd
    for (int64_t i = 0; i < size.dim; ++i) Store(Load(sample_gate + i) * Load(y + at + i), out + at + i);
  }
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void GeluTanhElements(int64_t begin, int64_t end, const T* x, T* out) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) Store(Load(x + i) * GeluGate(Load(x + i)), out + i);
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void GeluTanhBackwardElements(int64_t begin, int64_t end, const T* x, const T* dout, T* dx) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float value = Load(x + i);
    const float gate = GeluGate(value);
    const float slope = kTwoRootTwoOverPi * (1.0f + 3.0f * kCubic * value * value);
    Store(Load(dout + i) * gate * (1.0f + value * (1.0f - gate) * slope), dx + i);
  }
}

}  // namespace

// Dispatch by instruction set works on functions, not on templates.

FLOWAWR_VECTORISED void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const float* x,
                                          int64_t x_batch_stride, PerSample<float> shift, PerSample<float> scale,
                                          float epsilon, float* out) {
  LayerNormModulateRows(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}
FLOWAWR_VECTORISED void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const Bf16* x,
                                          int64_t x_batch_stride, PerSample<Bf16> shift, PerSample<Bf16> scale,
                                          float epsilon, Bf16* out) {
  LayerNormModulateRows(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}

FLOWAWR_VECTORISED void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const float* x,
                                                  PerSample<float> scale, float epsilon, const float* dout, float* dx) {
  LayerNormModulateBackwardRows(size, begin, end, x, scale, epsilon, dout, dx);
}
FLOWAWR_VECTORISED void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const Bf16* x,
                                                  PerSample<Bf16> scale, float epsilon, const Bf16* dout, Bf16* dx) {
  LayerNormModulateBackwardRows(size, begin, end, x, scale, epsilon, dout, dx);
}

FLOWAWR_VECTORISED void GatedResidual(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                                      PerSample<float> gate, const float* y, float* out) {
  GatedResidualRows(size, begin, end, x, x_batch_stride, gate, y, out);
}
FLOWAWR_VECTORISED void GatedResidual(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride,
                                      PerSample<Bf16> gate, const Bf16* y, Bf16* out) {
  GatedResidualRows(size, begin, end, x, x_batch_stride, gate, y, out);
}

FLOWAWR_VECTORISED void Gate(Tokens size, int64_t begin, int64_t end, PerSample<float> gate, const float* y,
                             float* out) {
  GateRows(size, begin, end, gate, y, out);
}
FLOWAWR_VECTORISED void Gate(Tokens size, int64_t begin, int64_t end, PerSample<Bf16> gate, const Bf16* y, Bf16* out) {
  GateRows(size, begin, end, gate, y, out);
}

FLOWAWR_VECTORISED void GeluTanh(int64_t begin, int64_t end, const float* x, float* out) {
  GeluTanhElements(begin, end, x, out);
}
FLOWAWR_VECTORISED void GeluTanh(int64_t begin, int64_t end, const Bf16* x, Bf16* out) {
  GeluTanhElements(begin, end, x, out);
}

FLOWAWR_VECTORISED void GeluTanhBackward(int64_t begin, int64_t end, const float* x, const float* dout, float* dx) {
  GeluTanhBackwardElements(begin, end, x, dout, dx);
}
FLOWAWR_VECTORISED void GeluTanhBackward(int64_t begin, int64_t end, const Bf16* x, const Bf16* dout, Bf16* dx) {
  GeluTanhBackwardElements(begin, end, x, dout, dx);
}

}  // namespace flowawr::kernels
