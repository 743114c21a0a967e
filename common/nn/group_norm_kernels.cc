#include "common/nn/group_norm_kernels.h"

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/nn/group_norm_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
HWY_INLINE void GroupMomentsOf(int64_t pixels, int64_t channels, int64_t groups, const T* x, float* scratch,
                               Moments* moments) {
  // Differences from the first pixel: squares of them lose nothing where the mean is far from zero.
  float* sums = scratch;
  float* squares = scratch + channels;
  for (int64_t i = 0; i < 2 * channels; ++i) scratch[i] = 0;
  const auto square = [](V value) HWY_ATTR { return hn::Mul(value, value); };
  int64_t pixel = 1;
  for (; pixel + 4 <= pixels; pixel += 4) {
    const T* row = x + pixel * channels;
    MapTwo(
        channels,
        [&](V sum, V sum_of_squares, V first, V a, V b, V c, V d) HWY_ATTR {
          a = hn::Sub(a, first);
          b = hn::Sub(b, first);
          c = hn::Sub(c, first);
          d = hn::Sub(d, first);
          const V more = hn::Add(hn::MulAdd(a, a, square(b)), hn::MulAdd(c, c, square(d)));
          return Two{hn::Add(sum, hn::Add(hn::Add(a, b), hn::Add(c, d))), hn::Add(sum_of_squares, more)};
        },
        sums, squares, sums, squares, x, row, row + channels, row + 2 * channels, row + 3 * channels);
  }
  for (; pixel < pixels; ++pixel) {
    MapTwo(
        channels,
        [](V sum, V sum_of_squares, V first, V value) HWY_ATTR {
          const V difference = hn::Sub(value, first);
          return Two{hn::Add(sum, difference), hn::MulAdd(difference, difference, sum_of_squares)};
        },
        sums, squares, sums, squares, x, x + pixel * channels);
  }
  const int64_t width = channels / groups;
  const double count = static_cast<double>(pixels);
  for (int64_t group = 0; group < groups; ++group) {
    moments[group] = {};
    for (int64_t i = group * width; i < (group + 1) * width; ++i) {
      const double mean = sums[i] / count;
      moments[group].Add({count, ValueOf(x[i]) + mean, squares[i] - sums[i] * mean});
    }
  }
}

template <typename T>
HWY_INLINE void ScaleSiluOf(int64_t pixels, int64_t channels, const T* x, const float* slope, const float* offset,
                            T* out) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    Map(
        channels,
        [](V value, V factor, V added) HWY_ATTR {
          const V scaled = hn::MulAdd(value, factor, added);
          return hn::Div(scaled, hn::Add(Set(1.0f), Exp(hn::Neg(scaled))));
        },
        out + pixel * channels, x + pixel * channels, slope, offset);
  }
}

}  // namespace

// Highway's tables hold functions, not templates or overloads.

void GroupMomentsF32(int64_t pixels, int64_t channels, int64_t groups, const float* x, float* scratch,
                     Moments* moments) {
  GroupMomentsOf(pixels, channels, groups, x, scratch, moments);
}
void GroupMomentsBf16(int64_t pixels, int64_t channels, int64_t groups, const Bf16* x, float* scratch,
                      Moments* moments) {
  GroupMomentsOf(pixels, channels, groups, x, scratch, moments);
}

void ScaleSiluF32(int64_t pixels, int64_t channels, const float* x, const float* slope, const float* offset,
                  float* out) {
  ScaleSiluOf(pixels, channels, x, slope, offset, out);
}
void ScaleSiluBf16(int64_t pixels, int64_t channels, const Bf16* x, const float* slope, const float* offset,
                   Bf16* out) {
  ScaleSiluOf(pixels, channels, x, slope, offset, out);
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(GroupMomentsF32);
HWY_EXPORT(GroupMomentsBf16);
HWY_EXPORT(ScaleSiluF32);
HWY_EXPORT(ScaleSiluBf16);

void Moments::Add(const Moments& other) {
  const double total = count + other.count;
  const double difference = other.mean - mean;
  mean += difference * other.count / total;
  squares += other.squares + difference * difference * count * other.count / total;
  count = total;
}

void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const float* x, float* scratch, Moments* moments) {
  FLOWAWR_DISPATCH(GroupMomentsF32)(pixels, channels, groups, x, scratch, moments);
}
void GroupMoments(int64_t pixels, int64_t channels, int64_t groups, const Bf16* x, float* scratch, Moments* moments) {
  FLOWAWR_DISPATCH(GroupMomentsBf16)(pixels, channels, groups, x, scratch, moments);
}

void ScaleSilu(int64_t pixels, int64_t channels, const float* x, const float* slope, const float* offset, float* out) {
  FLOWAWR_DISPATCH(ScaleSiluF32)(pixels, channels, x, slope, offset, out);
}
void ScaleSilu(int64_t pixels, int64_t channels, const Bf16* x, const float* slope, const float* offset, Bf16* out) {
  FLOWAWR_DISPATCH(ScaleSiluBf16)(pixels, channels, x, slope, offset, out);
}

}  // namespace flowawr::kernels
#endif
