#include "common/nn/group_norm_kernels.h"

#include "common/nn/vectorised.h"

namespace flowawr::kernels {
namespace {

template <typename T>
FLOWAWR_ALWAYS_INLINE void GroupMomentsOf(int64_t pixels, int64_t channels, int64_t groups, const T* x, float* scratch,
                                          Moments* moments) {
  // Differences from the first pixel: squares of them lose nothing where the mean is far from zero.
  float* sums = scratch;
  float* squares = scratch + channels;
  for (int64_t i = 0; i < 2 * channels; ++i) scratch[i] = 0;
  int64_t pixel = 1;
  for (; pixel + 4 <= pixels; pixel += 4) {
    const T* row = x + pixel * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float first = Load(x + i);
      const float a = Load(row + i) - first;
      const float b = Load(row + channels + i) - first;
      const float c = Load(row + 2 * channels + i) - first;
      const float d = Load(row + 3 * channels + i) - first;
      sums[i] += (a + b) + (c + d);
      squares[i] += (a * a + b * b) + (c * c + d * d);
    }
  }
  for (; pixel < pixels; ++pixel) {
    const T* row = x + pixel * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float difference = Load(row + i) - Load(x + i);
      sums[i] += difference;
      squares[i] += difference * difference;
    }
  }
  const int64_t width = channels / groups;
  const double count = static_cast<double>(pixels);
  for (int64_t group = 0; group < groups; ++group) {
    moments[group] = {};
    for (int64_t i = group * width; i < (group + 1) * width; ++i) {
      const double mean = sums[i] / count;
      moments[group].Add({count, Load(x + i) + mean, squares[i] - sums[i] * mean});
    }
  }
}

template <typename T>
FLOWAWR_ALWAYS_INLINE void ScaleSiluOf(int64_t pixels, int64_t channels, const T* x, const float* slope,
                                       const float* offset, T* out) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const T* row = x + pixel * channels;
    T* out_row = out + pixel * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float value = Load(row + i) * slope[i] + offset[i];
      Store(value / (1.0f + Exp(-value)), out_row + i);
    }
  }
}

}  // namespace

void Moments::Add(const Moments& other) {
  const double total = count + other.count;
  const double difference = other.mean - mean;
  mean += difference * other.count / total;
  squares += other.squares + difference * difference * count * other.count / total;
  count = total;
}

// Dispatch by instruction set works on functions, not on templates.

FLOWAWR_VECTORISED void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const float* x, float* scratch,
                                     Moments* moments) {
  GroupMomentsOf(pixels, channels, groups, x, scratch, moments);
}
FLOWAWR_VECTORISED void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const Bf16* x, float* scratch,
                                     Moments* moments) {
  GroupMomentsOf(pixels, channels, groups, x, scratch, moments);
}

FLOWAWR_VECTORISED void ScaleSilu(int64_t pixels, int64_t channels, const float* x, const float* slope,
                                  const float* offset, float* out) {
  ScaleSiluOf(pixels, channels, x, slope, offset, out);
}
FLOWAWR_VECTORISED void ScaleSilu(int64_t pixels, int64_t channels, const Bf16* x, const float* slope,
                                  const float* offset, Bf16* out) {
  ScaleSiluOf(pixels, channels, x, slope, offset, out);
}

}  // namespace flowawr::kernels
