// What the hand-written CPU kernels share: dispatch by instruction set, and an exponential that the compiler
// vectorises. For kernel sources only (compiled by the rules in CMakeLists.txt that allow contraction to fused
// multiply-add).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "common/nn/bf16.h"

// Compiles a function for AVX-512, AVX2 and the baseline; the loader picks one. Sanitizers cannot run the picking code.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define FLOWAWR_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FLOWAWR_VECTORISED
#endif
#define FLOWAWR_ALWAYS_INLINE inline __attribute__((always_inline))

namespace flowawr::kernels {

FLOWAWR_ALWAYS_INLINE float Load(const float* from) { return *from; }
FLOWAWR_ALWAYS_INLINE float Load(const Bf16* from) { return FloatOf(*from); }
FLOWAWR_ALWAYS_INLINE void Store(float value, float* to) { *to = value; }
FLOWAWR_ALWAYS_INLINE void Store(float value, Bf16* to) { *to = Bf16Of(value); }

// Sixteen floats: one AVX-512 register, or as many smaller ones as the instruction set needs.
inline constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t IntLanes __attribute__((vector_size(kLanes * sizeof(int32_t))));

FLOWAWR_ALWAYS_INLINE Lanes LoadLanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}
FLOWAWR_ALWAYS_INLINE Lanes LoadLanes(const Bf16* from) {
  typedef uint16_t HalfLanes __attribute__((vector_size(kLanes * sizeof(uint16_t))));
  HalfLanes bits;
  std::memcpy(&bits, from, sizeof(bits));
  return std::bit_cast<Lanes>(__builtin_convertvector(bits, IntLanes) << 16);
}
FLOWAWR_ALWAYS_INLINE void StoreLanes(const Lanes& lanes, float* to) { std::memcpy(to, &lanes, sizeof(lanes)); }

// Folds the lanes in halves with `combine`.
template <typename Combine>
FLOWAWR_ALWAYS_INLINE float ReduceLanes(const Lanes& lanes, Combine combine) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight eight[2];
  std::memcpy(eight, &lanes, sizeof(lanes));
  const Eight in_eight = combine(eight[0], eight[1]);
  Four four[2];
  std::memcpy(four, &in_eight, sizeof(in_eight));
  const Four in_four = combine(four[0], four[1]);
  return combine(combine(in_four[0], in_four[2]), combine(in_four[1], in_four[3]));
}
FLOWAWR_ALWAYS_INLINE float SumLanes(const Lanes& lanes) {
  return ReduceLanes(
      lanes, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a + b; });
}
FLOWAWR_ALWAYS_INLINE float MaxLanes(const Lanes& lanes) {
  return ReduceLanes(
      lanes, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a > b ? a : b; });
}

// exp(x) to about 1e-7 relative, saturating near the ends of f32's range; NaN stays NaN. After Cephes' expf.
// Of a float, or of Lanes.
template <typename Int = int32_t, typename Float>
FLOWAWR_ALWAYS_INLINE Float Exp(Float x) {
  const Float highest = x - x + 88.0f;
  const Float lowest = x - x - 87.0f;
  x = x > highest ? highest : x;
  x = x < lowest ? lowest : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Float shifted = x * 1.44269504f + kRound;
  const Float n = shifted - kRound;
  const Float r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
  Float p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Int power = (std::bit_cast<Int>(shifted) - std::bit_cast<int32_t>(kRound) + 127) << 23;
  return p * std::bit_cast<Float>(power);
}

}  // namespace flowawr::kernels
