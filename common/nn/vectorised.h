// What the hand-written CPU kernels share: dispatch by instruction set, and an exponential that the compiler vectorises.
// For kernel sources only (compiled by the rules in CMakeLists.txt that allow contraction to fused multiply-add).
#pragma once

#include <bit>
#include <cstdint>

// Compiles a function for AVX-512, AVX2 and the baseline; the loader picks one. Sanitizers cannot run the picking code.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define FLOWAWR_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FLOWAWR_VECTORISED
#endif
#define FLOWAWR_ALWAYS_INLINE inline __attribute__((always_inline))

namespace flowawr::kernels {

// exp(x) to about 1e-7 relative, saturating near the ends of f32's range; NaN stays NaN. After Cephes' expf.
FLOWAWR_ALWAYS_INLINE float Exp(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t power = (std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127) << 23;
  return p * std::bit_cast<float>(power);
}

}  // namespace flowawr::kernels
