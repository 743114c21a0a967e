// What the f32 kernels share, for one of Highway's targets at a time: loads and stores of f32 and bfloat16, sums over
// rows, an exponential. For kernel sources only; they include it after <hwy/foreach_target.h>.
//
// Products and sums are fused where the code says MulAdd and nowhere else (the kernels are compiled without
// contraction), and a row's last, partial vector goes through the same instructions as a whole one: an element's bits
// do not depend on where it stands.

// Included once for each target: Highway flips HWY_TARGET_TOGGLE between them.
#if defined(FLOWAWR_COMMON_NN_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FLOWAWR_COMMON_NN_SIMD_INL_H_
#undef FLOWAWR_COMMON_NN_SIMD_INL_H_
#else
#define FLOWAWR_COMMON_NN_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "common/nn/bf16.h"
#include "common/nn/instruction_set.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using V = hn::Vec<Floats>;
inline constexpr Floats kFloats;
inline constexpr int64_t kLanes = HWY_LANES(float);

HWY_INLINE V Set(float x) { return hn::Set(kFloats, x); }
HWY_INLINE V Zero() { return hn::Zero(kFloats); }

HWY_INLINE V Load(const float* from) { return hn::LoadU(kFloats, from); }
HWY_INLINE V Load(const Bf16* from) {
  const hn::Rebind<uint32_t, Floats> words;
  const hn::Rebind<Bf16, Floats> halves;
  return hn::BitCast(kFloats, hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, from))));
}

HWY_INLINE void Store(V values, float* to) { hn::StoreU(values, kFloats, to); }
// To the nearest, ties to even; NaN stays NaN.
HWY_INLINE void Store(V values, Bf16* to) {
  const hn::Rebind<int32_t, Floats> words;
  const hn::Rebind<Bf16, Floats> halves;
  const auto bits = hn::BitCast(words, values);
  const auto is_odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(words, 0x7fff)), is_odd);
  const auto is_nan = hn::RebindMask(words, hn::Ne(values, values));
  const auto kept = hn::IfThenElse(is_nan, hn::Set(words, 0x7fc00000), rounded);
  const auto upper = hn::And(hn::ShiftRight<16>(kept), hn::Set(words, 0xffff));
  hn::StoreU(hn::DemoteTo(halves, upper), halves, to);
}

HWY_INLINE float ValueOf(float x) { return x; }
HWY_INLINE float ValueOf(Bf16 x) { return FloatOf(x); }

HWY_INLINE float SumOf(V v) { return hn::GetLane(hn::SumOfLanes(kFloats, v)); }
HWY_INLINE float MaxOf(V v) { return hn::GetLane(hn::MaxOfLanes(kFloats, v)); }

// The first `count` elements, then zeros.
template <typename T>
HWY_INLINE V LoadFirst(const T* from, int64_t count) {
  T padded[kLanes] = {};
  std::memcpy(padded, from, count * sizeof(T));
  return Load(padded);
}

// out[i] = operation(in[i] ...) for i in [0, count); `out` may be one of `in`.
template <typename Operation, typename Out, typename... In>
HWY_INLINE void Map(int64_t count, const Operation& operation, Out* out, const In*... in) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(operation(Load(in + i)...), out + i);
  if (i == count) return;
  Out last[kLanes];
  Store(operation(LoadFirst(in + i, count - i)...), last);
  std::memcpy(out + i, last, (count - i) * sizeof(Out));
}

struct Two {
  V first, second;
};

// As Map, for an operation with two results.
template <typename Operation, typename Out, typename... In>
HWY_INLINE void MapTwo(int64_t count, const Operation& operation, Out* first, Out* second, const In*... in) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Two results = operation(Load(in + i)...);
    Store(results.first, first + i);
    Store(results.second, second + i);
  }
  if (i == count) return;
  Out last[kLanes], other_last[kLanes];
  const Two results = operation(LoadFirst(in + i, count - i)...);
  Store(results.first, last);
  Store(results.second, other_last);
  std::memcpy(first + i, last, (count - i) * sizeof(Out));
  std::memcpy(second + i, other_last, (count - i) * sizeof(Out));
}

// The sum of operation(in[i] ...) for i in [0, count): four sums side by side, as an addition takes four cycles.
template <typename Operation, typename... In>
HWY_INLINE float Sum(int64_t count, const Operation& operation, const In*... in) {
  V sums[4] = {Zero(), Zero(), Zero(), Zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    sums[0] = hn::Add(sums[0], operation(Load(in + i)...));
    sums[1] = hn::Add(sums[1], operation(Load(in + i + kLanes)...));
    sums[2] = hn::Add(sums[2], operation(Load(in + i + 2 * kLanes)...));
    sums[3] = hn::Add(sums[3], operation(Load(in + i + 3 * kLanes)...));
  }
  for (; i + kLanes <= count; i += kLanes) sums[0] = hn::Add(sums[0], operation(Load(in + i)...));
  if (i < count) {
    const V last = operation(LoadFirst(in + i, count - i)...);
    sums[1] = hn::Add(sums[1], hn::IfThenElseZero(hn::FirstN(kFloats, count - i), last));
  }
  return SumOf(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

// exp(x) to about 1e-7 relative, saturating near the ends of f32's range; NaN stays NaN. After Cephes' expf.
HWY_INLINE V Exp(V x) {
  const V highest = Set(88.0f), lowest = Set(-87.0f);
  x = hn::IfThenElse(hn::Gt(x, highest), highest, x);
  x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);
  const V round = Set(12582912.0f);  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const V shifted = hn::MulAdd(x, Set(1.44269504f), round);
  const V n = hn::Sub(shifted, round);
  const V r = hn::MulAdd(n, Set(2.12194440e-4f), hn::NegMulAdd(n, Set(0.693359375f), x));  // ln 2 in two parts
  V p = hn::MulAdd(Set(1.9875691500e-4f), r, Set(1.3981999507e-3f));
  p = hn::MulAdd(p, r, Set(8.3334519073e-3f));
  p = hn::MulAdd(p, r, Set(4.1665795894e-2f));
  p = hn::MulAdd(p, r, Set(1.6666665459e-1f));
  p = hn::MulAdd(p, r, Set(5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), Set(1.0f));
  const hn::Rebind<int32_t, Floats> words;
  const auto exponent = hn::Sub(hn::BitCast(words, shifted), hn::BitCast(words, round));
  const auto power = hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(words, 127)));
  return hn::Mul(p, hn::BitCast(kFloats, power));
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

// Calls the variant of a function, exported by HWY_EXPORT, that fits the active instruction set.
#ifndef FLOWAWR_DISPATCH
#define FLOWAWR_DISPATCH(function) (ActiveInstructionSet(), HWY_DYNAMIC_DISPATCH(function))
#endif

#endif  // FLOWAWR_COMMON_NN_SIMD_INL_H_
