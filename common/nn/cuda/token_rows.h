// The bodies of the kernels on rows of activations (LayerNormModulateCall and so on in device_kernels.h): one row by
// one team. The first read of a row comes from the device's memory; a row of a few KB is read again from the nearest
// cache. Rows are counted over samples and tokens.
#pragma once

#include "common/nn/cuda/elements.h"

namespace flowawr::cuda {

struct RowStatistics {
  float mean;
  float inverse_deviation;
};

template <int kWidth, typename Team, typename T>
FLOWAWR_DEVICE RowStatistics StatisticsOf(const Team& team, int64_t dim, const T* x, float epsilon) {
  const float mean = SumRow<kWidth>(
                         team, dim, [](float value) { return value; }, x) /
                     static_cast<float>(dim);
  const float squares = SumRow<kWidth>(
      team, dim, [mean](float value) { return (value - mean) * (value - mean); }, x);
  return {mean, InverseRoot(squares / static_cast<float>(dim) + epsilon)};
}

template <typename T>
FLOWAWR_DEVICE const T* VectorOf(const SampleVectors& vectors, int64_t sample) {
  return static_cast<const T*>(vectors.values) + sample * vectors.batch_stride;
}

template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void ComputeRow(const Team& team, const LayerNormModulateCall& call, int64_t row) {
  const int64_t dim = call.size.dim, sample = row / call.size.tokens, token = row % call.size.tokens;
  const T* x = static_cast<const T*>(call.x) + sample * call.x_batch_stride + token * dim;
  const RowStatistics s = StatisticsOf<kWidth>(team, dim, x, call.epsilon);
  MapRow<kWidth>(
      team, dim,
      [s](float value, float scale, float shift) {
        return (value - s.mean) * s.inverse_deviation * (1.0f + scale) + shift;
      },
      static_cast<T*>(call.out) + row * dim, x, VectorOf<T>(call.scale, sample), VectorOf<T>(call.shift, sample));
}

// With n = (x - mean) / deviation and g = dout * (1 + scale): dx = (g - mean(g) - n mean(g n)) / deviation.
template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void ComputeRow(const Team& team, const LayerNormModulateBackwardCall& call, int64_t row) {
  const int64_t dim = call.size.dim;
  const float inverse_dim = 1.0f / static_cast<float>(dim);
  const T* x = static_cast<const T*>(call.x) + row * dim;
  const T* dout = static_cast<const T*>(call.dout) + row * dim;
  const T* scale = VectorOf<T>(call.scale, row / call.size.tokens);
  const RowStatistics s = StatisticsOf<kWidth>(team, dim, x, call.epsilon);
  const auto gradient = [](float slope, float flow) { return flow * (1.0f + slope); };
  const float mean_gradient = SumRow<kWidth>(team, dim, gradient, scale, dout) * inverse_dim;
  const float mean_product =
      SumRow<kWidth>(
          team, dim, [&](float slope, float flow, float value) { return gradient(slope, flow) * (value - s.mean); },
          scale, dout, x) *
      inverse_dim;
  const float slope_of_row = mean_product * s.inverse_deviation * s.inverse_deviation;
  MapRow<kWidth>(
      team, dim,
      [&](float slope, float flow, float value) {
        return (gradient(slope, flow) - mean_gradient - (value - s.mean) * slope_of_row) * s.inverse_deviation;
      },
      static_cast<T*>(call.dx) + row * dim, scale, dout, x);
}

template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void ComputeRow(const Team& team, const GatedResidualCall& call, int64_t row) {
  const int64_t dim = call.size.dim, sample = row / call.size.tokens, token = row % call.size.tokens;
  const T* gate = VectorOf<T>(call.gate, sample);
  const T* y = static_cast<const T*>(call.y) + row * dim;
  T* out = static_cast<T*>(call.out) + row * dim;
  if (call.x == nullptr) {
    MapRow<kWidth>(
        team, dim, [](float factor, float value) { return factor * value; }, out, gate, y);
    return;
  }
  const T* x = static_cast<const T*>(call.x) + sample * call.x_batch_stride + token * dim;
  MapRow<kWidth>(
      team, dim, [](float value, float factor, float added) { return value + factor * added; }, out, x, gate, y);
}

inline bool FitsPacks(const LayerNormModulateCall& call) {
  return FitsPacks(call.element, {call.x, call.shift.values, call.scale.values, call.out},
                   {call.size.dim, call.x_batch_stride, call.shift.batch_stride, call.scale.batch_stride});
}
inline bool FitsPacks(const LayerNormModulateBackwardCall& call) {
  return FitsPacks(call.element, {call.x, call.scale.values, call.dout, call.dx},
                   {call.size.dim, call.scale.batch_stride});
}
inline bool FitsPacks(const GatedResidualCall& call) {
  return FitsPacks(call.element, {call.x, call.gate.values, call.y, call.out},
                   {call.size.dim, call.x_batch_stride, call.gate.batch_stride});
}

}  // namespace flowawr::cuda
