#include "common/nn/elementwise_kernels.h"

#include <cmath>

#include "common/nn/vectorised.h"

namespace flowawr::kernels {
namespace {

struct Statistics {
  float mean;
  float inverse_deviation;
};

FLOWAWR_ALWAYS_INLINE Statistics RowStatistics(const float* x, int64_t dim, float epsilon) {
  const int64_t whole = dim / kLanes * kLanes;
  Lanes sums = {};
  for (int64_t i = 0; i < whole; i += kLanes) sums += LoadLanes(x + i);
  float sum = SumLanes(sums);
  for (int64_t i = whole; i < dim; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(dim);
  Lanes squares = {};
  for (int64_t i = 0; i < whole; i += kLanes) squares += (LoadLanes(x + i) - mean) * (LoadLanes(x + i) - mean);
  float square = SumLanes(squares);
  for (int64_t i = whole; i < dim; ++i) square += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0f / std::sqrt(square / static_cast<float>(dim) + epsilon)};
}

// gelu(x) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
constexpr float kTwoRootTwoOverPi = 1.5957691216f;
constexpr float kCubic = 0.044715f;

FLOWAWR_ALWAYS_INLINE float GeluGate(float x) {
  return 1.0f / (1.0f + Exp(-kTwoRootTwoOverPi * x * (1.0f + kCubic * x * x)));
}

}  // namespace

FLOWAWR_VECTORISED void LayerNormModulate(Tokens size, const float* x, int64_t x_batch_stride, PerSample shift,
                                          PerSample scale, float epsilon, float* out) {
  for (int64_t b = 0; b < size.batch; ++b) {
    const float* sample_shift = shift.values + b * shift.batch_stride;
    const float* sample_scale = scale.values + b * scale.batch_stride;
    for (int64_t t = 0; t < size.tokens; ++t) {
      const float* row = x + b * x_batch_stride + t * size.dim;
      float* out_row = out + (b * size.tokens + t) * size.dim;
      const Statistics s = RowStatistics(row, size.dim, epsilon);
#pragma omp simd
      for (int64_t i = 0; i < size.dim; ++i) {
        out_row[i] = (row[i] - s.mean) * s.inverse_deviation * (1.0f + sample_scale[i]) + sample_shift[i];
      }
    }
  }
}

FLOWAWR_VECTORISED void LayerNormModulateBackward(Tokens size, const float* x, PerSample scale, float epsilon,
                                                  const float* dout, float* dx) {
  const float inverse_dim = 1.0f / static_cast<float>(size.dim);
  for (int64_t b = 0; b < size.batch; ++b) {
    const float* sample_scale = scale.values + b * scale.batch_stride;
    for (int64_t t = 0; t < size.tokens; ++t) {
      const int64_t offset = (b * size.tokens + t) * size.dim;
      const float* row = x + offset;
      const float* dout_row = dout + offset;
      float* dx_row = dx + offset;
      const Statistics s = RowStatistics(row, size.dim, epsilon);
      float sum = 0;
      float projection = 0;
#pragma omp simd reduction(+ : sum, projection)
      for (int64_t i = 0; i < size.dim; ++i) {
        const float g = dout_row[i] * (1.0f + sample_scale[i]);
        sum += g;
        projection += g * (row[i] - s.mean);
      }
      const float mean_g = sum * inverse_dim;
      const float slope = projection * inverse_dim * s.inverse_deviation * s.inverse_deviation;
#pragma omp simd
      for (int64_t i = 0; i < size.dim; ++i) {
        const float g = dout_row[i] * (1.0f + sample_scale[i]);
        dx_row[i] = (g - mean_g - (row[i] - s.mean) * slope) * s.inverse_deviation;
      }
    }
  }
}

FLOWAWR_VECTORISED void GatedResidual(Tokens size, const float* x, int64_t x_batch_stride, PerSample gate,
                                      const float* y, float* out) {
  for (int64_t b = 0; b < size.batch; ++b) {
    const float* sample_gate = gate.values + b * gate.batch_stride;
    for (int64_t t = 0; t < size.tokens; ++t) {
      const float* x_row = x + b * x_batch_stride + t * size.dim;
      const int64_t offset = (b * size.tokens + t) * size.dim;
#pragma omp simd
      for (int64_t i = 0; i < size.dim; ++i) out[offset + i] = x_row[i] + sample_gate[i] * y[offset + i];
    }
  }
}

FLOWAWR_VECTORISED void Gate(Tokens size, PerSample gate, const float* y, float* out) {
  for (int64_t b = 0; b < size.batch; ++b) {
    const float* sample_gate = gate.values + b * gate.batch_stride;
    for (int64_t t = 0; t < size.tokens; ++t) {
      const int64_t offset = (b * size.tokens + t) * size.dim;
#pragma omp simd
      for (int64_t i = 0; i < size.dim; ++i) out[offset + i] = sample_gate[i] * y[offset + i];
    }
  }
}

FLOWAWR_VECTORISED void GeluTanh(int64_t size, const float* x, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) out[i] = x[i] * GeluGate(x[i]);
}

FLOWAWR_VECTORISED void GeluTanhBackward(int64_t size, const float* x, const float* dout, float* dx) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    const float gate = GeluGate(x[i]);
    const float slope = kTwoRootTwoOverPi * (1.0f + 3.0f * kCubic * x[i] * x[i]);
    dx[i] = dout[i] * gate * (1.0f + x[i] * (1.0f - gate) * slope);
  }
}

}  // namespace flowawr::kernels
