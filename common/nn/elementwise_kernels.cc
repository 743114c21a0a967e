#include "common/nn/elementwise_kernels.h"

#include <cmath>

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/nn/elementwise_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace {

struct Statistics {
  float mean;
  float inverse_deviation;
};

template <typename T>
HWY_INLINE Statistics RowStatistics(const T* x, int64_t dim, float epsilon) {
  const float mean = Sum(dim, [](V value) HWY_ATTR { return value; }, x) / static_cast<float>(dim);
  const float squares = Sum(
      dim,
      [mean](V value) HWY_ATTR {
        const V difference = hn::Sub(value, Set(mean));
        return hn::Mul(difference, difference);
      },
      x);
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(dim) + epsilon)};
}

// gelu(x) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
constexpr float kTwoRootTwoOverPi = 1.5957691216f;
constexpr float kCubic = 0.044715f;

HWY_INLINE V GeluGate(V x) {
  const V negative = hn::Mul(hn::Mul(x, Set(-kTwoRootTwoOverPi)), hn::MulAdd(hn::Mul(x, x), Set(kCubic), Set(1.0f)));
  return hn::Div(Set(1.0f), hn::Add(Set(1.0f), Exp(negative)));
}

template <typename T>
HWY_INLINE const T* Of(const PerSample<T>& vectors, int64_t sample) {
  return vectors.values + sample * vectors.batch_stride;
}

template <typename T>
HWY_INLINE void LayerNormModulateRows(Tokens size, int64_t begin, int64_t end, const T* x, int64_t x_batch_stride,
                                      PerSample<T> shift, PerSample<T> scale, float epsilon, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t b = r / size.tokens;
    const T* row = x + b * x_batch_stride + r % size.tokens * size.dim;
    const Statistics s = RowStatistics(row, size.dim, epsilon);
    Map(
        size.dim,
        [s](V value, V slope, V offset) HWY_ATTR {
          const V normalised = hn::Mul(hn::Sub(value, Set(s.mean)), Set(s.inverse_deviation));
          return hn::MulAdd(normalised, hn::Add(Set(1.0f), slope), offset);
        },
        out + r * size.dim, row, Of(scale, b), Of(shift, b));
  }
}

template <typename T>
HWY_INLINE void LayerNormModulateBackwardRows(Tokens size, int64_t begin, int64_t end, const T* x, PerSample<T> scale,
                                              float epsilon, const T* dout, T* dx) {
  const float inverse_dim = 1.0f / static_cast<float>(size.dim);
  for (int64_t r = begin; r < end; ++r) {
    const T* sample_scale = Of(scale, r / size.tokens);
    const T* row = x + r * size.dim;
    const T* dout_row = dout + r * size.dim;
    const Statistics s = RowStatistics(row, size.dim, epsilon);
    // Of the normalised row: its gradient's mean, and that of the gradient times the row.
    const auto gradient = [](V slope, V flow) HWY_ATTR { return hn::Mul(flow, hn::Add(Set(1.0f), slope)); };
    const float mean_gradient = Sum(size.dim, gradient, sample_scale, dout_row) * inverse_dim;
    const float product = Sum(
        size.dim,
        [&](V slope, V flow, V value) HWY_ATTR { return hn::Mul(gradient(slope, flow), hn::Sub(value, Set(s.mean))); },
        sample_scale, dout_row, row);
    const float slope_of_row = product * inverse_dim * s.inverse_deviation * s.inverse_deviation;
    Map(
        size.dim,
        [&](V slope, V flow, V value) HWY_ATTR {
          const V centred = hn::Sub(gradient(slope, flow), Set(mean_gradient));
          const V rest = hn::NegMulAdd(hn::Sub(value, Set(s.mean)), Set(slope_of_row), centred);
          return hn::Mul(rest, Set(s.inverse_deviation));
        },
        dx + r * size.dim, sample_scale, dout_row, row);
  }
}

template <typename T>
HWY_INLINE void GatedResidualRows(Tokens size, int64_t begin, int64_t end, const T* x, int64_t x_batch_stride,
                                  PerSample<T> gate, const T* y, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t b = r / size.tokens;
    Map(
        size.dim, [](V value, V factor, V added) HWY_ATTR { return hn::MulAdd(factor, added, value); },
        out + r * size.dim, x + b * x_batch_stride + r % size.tokens * size.dim, Of(gate, b), y + r * size.dim);
  }
}

template <typename T>
HWY_INLINE void GateRows(Tokens size, int64_t begin, int64_t end, PerSample<T> gate, const T* y, T* out) {
  for (int64_t r = begin; r < end; ++r) {
    Map(
        size.dim, [](V factor, V value) HWY_ATTR { return hn::Mul(factor, value); }, out + r * size.dim,
        Of(gate, r / size.tokens), y + r * size.dim);
  }
}

template <typename T>
HWY_INLINE void GeluTanhElements(int64_t begin, int64_t end, const T* x, T* out) {
  Map(
      end - begin, [](V value) HWY_ATTR { return hn::Mul(value, GeluGate(value)); }, out + begin, x + begin);
}

template <typename T>
HWY_INLINE void QuickGeluElements(int64_t begin, int64_t end, const T* x, T* out) {
  Map(
      end - begin,
      [](V value) HWY_ATTR { return hn::Div(value, hn::Add(Set(1.0f), Exp(hn::Mul(value, Set(-1.702f))))); }, out + begin,
      x + begin);
}

template <typename T>
HWY_INLINE void GeluTanhBackwardElements(int64_t begin, int64_t end, const T* x, const T* dout, T* dx) {
  Map(
      end - begin,
      [](V value, V flow) HWY_ATTR {
        const V gate = GeluGate(value);
        const V slope =
            hn::MulAdd(hn::Mul(value, value), Set(3.0f * kCubic * kTwoRootTwoOverPi), Set(kTwoRootTwoOverPi));
        const V inner = hn::MulAdd(hn::Mul(value, hn::Sub(Set(1.0f), gate)), slope, Set(1.0f));
        return hn::Mul(hn::Mul(flow, gate), inner);
      },
      dx + begin, x + begin, dout + begin);
}

}  // namespace

// Highway's tables hold functions, not templates or overloads.

void LayerNormModulateF32(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                          PerSample<float> shift, PerSample<float> scale, float epsilon, float* out) {
  LayerNormModulateRows(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}
void LayerNormModulateBf16(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride,
                           PerSample<Bf16> shift, PerSample<Bf16> scale, float epsilon, Bf16* out) {
  LayerNormModulateRows(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}

void LayerNormModulateBackwardF32(Tokens size, int64_t begin, int64_t end, const float* x, PerSample<float> scale,
                                  float epsilon, const float* dout, float* dx) {
  LayerNormModulateBackwardRows(size, begin, end, x, scale, epsilon, dout, dx);
}
void LayerNormModulateBackwardBf16(Tokens size, int64_t begin, int64_t end, const Bf16* x, PerSample<Bf16> scale,
                                   float epsilon, const Bf16* dout, Bf16* dx) {
  LayerNormModulateBackwardRows(size, begin, end, x, scale, epsilon, dout, dx);
}

void GatedResidualF32(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                      PerSample<float> gate, const float* y, float* out) {
  GatedResidualRows(size, begin, end, x, x_batch_stride, gate, y, out);
}
void GatedResidualBf16(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride,
                       PerSample<Bf16> gate, const Bf16* y, Bf16* out) {
  GatedResidualRows(size, begin, end, x, x_batch_stride, gate, y, out);
}

void GateF32(Tokens size, int64_t begin, int64_t end, PerSample<float> gate, const float* y, float* out) {
  GateRows(size, begin, end, gate, y, out);
}
void GateBf16(Tokens size, int64_t begin, int64_t end, PerSample<Bf16> gate, const Bf16* y, Bf16* out) {
  GateRows(size, begin, end, gate, y, out);
}

void GeluTanhF32(int64_t begin, int64_t end, const float* x, float* out) {
  GeluTanhElements(begin, end, x, out);
}
void GeluTanhBf16(int64_t begin, int64_t end, const Bf16* x, Bf16* out) {
  GeluTanhElements(begin, end, x, out);
}

void QuickGeluF32(int64_t begin, int64_t end, const float* x, float* out) {
  QuickGeluElements(begin, end, x, out);
}
void QuickGeluBf16(int64_t begin, int64_t end, const Bf16* x, Bf16* out) {
  QuickGeluElements(begin, end, x, out);
}

void GeluTanhBackwardF32(int64_t begin, int64_t end, const float* x, const float* dout, float* dx) {
  GeluTanhBackwardElements(begin, end, x, dout, dx);
}
void GeluTanhBackwardBf16(int64_t begin, int64_t end, const Bf16* x, const Bf16* dout, Bf16* dx) {
  GeluTanhBackwardElements(begin, end, x, dout, dx);
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(LayerNormModulateF32);
HWY_EXPORT(LayerNormModulateBf16);
HWY_EXPORT(LayerNormModulateBackwardF32);
HWY_EXPORT(LayerNormModulateBackwardBf16);
HWY_EXPORT(GatedResidualF32);
HWY_EXPORT(GatedResidualBf16);
HWY_EXPORT(GateF32);
HWY_EXPORT(GateBf16);
HWY_EXPORT(GeluTanhF32);
HWY_EXPORT(GeluTanhBf16);
HWY_EXPORT(QuickGeluF32);
HWY_EXPORT(QuickGeluBf16);
HWY_EXPORT(GeluTanhBackwardF32);
HWY_EXPORT(GeluTanhBackwardBf16);

void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                       PerSample<float> shift, PerSample<float> scale, float epsilon, float* out) {
  FLOWAWR_DISPATCH(LayerNormModulateF32)(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}
void LayerNormModulate(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride,
                       PerSample<Bf16> shift, PerSample<Bf16> scale, float epsilon, Bf16* out) {
  FLOWAWR_DISPATCH(LayerNormModulateBf16)(size, begin, end, x, x_batch_stride, shift, scale, epsilon, out);
}

void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const float* x, PerSample<float> scale,
                               float epsilon, const float* dout, float* dx) {
  FLOWAWR_DISPATCH(LayerNormModulateBackwardF32)(size, begin, end, x, scale, epsilon, dout, dx);
}
void LayerNormModulateBackward(Tokens size, int64_t begin, int64_t end, const Bf16* x, PerSample<Bf16> scale,
                               float epsilon, const Bf16* dout, Bf16* dx) {
  FLOWAWR_DISPATCH(LayerNormModulateBackwardBf16)(size, begin, end, x, scale, epsilon, dout, dx);
}

void GatedResidual(Tokens size, int64_t begin, int64_t end, const float* x, int64_t x_batch_stride,
                   PerSample<float> gate, const float* y, float* out) {
  FLOWAWR_DISPATCH(GatedResidualF32)(size, begin, end, x, x_batch_stride, gate, y, out);
}
void GatedResidual(Tokens size, int64_t begin, int64_t end, const Bf16* x, int64_t x_batch_stride, PerSample<Bf16> gate,
                   const Bf16* y, Bf16* out) {
  FLOWAWR_DISPATCH(GatedResidualBf16)(size, begin, end, x, x_batch_stride, gate, y, out);
}

void Gate(Tokens size, int64_t begin, int64_t end, PerSample<float> gate, const float* y, float* out) {
  FLOWAWR_DISPATCH(GateF32)(size, begin, end, gate, y, out);
}
void Gate(Tokens size, int64_t begin, int64_t end, PerSample<Bf16> gate, const Bf16* y, Bf16* out) {
  FLOWAWR_DISPATCH(GateBf16)(size, begin, end, gate, y, out);
}

void GeluTanh(int64_t begin, int64_t end, const float* x, float* out) {
  FLOWAWR_DISPATCH(GeluTanhF32)(begin, end, x, out);
}
void GeluTanh(int64_t begin, int64_t end, const Bf16* x, Bf16* out) {
  FLOWAWR_DISPATCH(GeluTanhBf16)(begin, end, x, out);
}

void QuickGelu(int64_t begin, int64_t end, const float* x, float* out) {
  FLOWAWR_DISPATCH(QuickGeluF32)(begin, end, x, out);
}
void QuickGelu(int64_t begin, int64_t end, const Bf16* x, Bf16* out) {
  FLOWAWR_DISPATCH(QuickGeluBf16)(begin, end, x, out);
}

void GeluTanhBackward(int64_t begin, int64_t end, const float* x, const float* dout, float* dx) {
  FLOWAWR_DISPATCH(GeluTanhBackwardF32)(begin, end, x, dout, dx);
}
void GeluTanhBackward(int64_t begin, int64_t end, const Bf16* x, const Bf16* dout, Bf16* dx) {
  FLOWAWR_DISPATCH(GeluTanhBackwardBf16)(begin, end, x, dout, dx);
}

}  // namespace flowawr::kernels
#endif
