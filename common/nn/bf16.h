// bfloat16 as the kernels see it: the upper half of an f32. No LibTorch. The conversions are constexpr, so that code for
// devices has them, too.
#pragma once

#include <bit>
#include <cstdint>

namespace flowawr::kernels {

// The bits of a bfloat16; the same layout as c10::BFloat16.
using Bf16 = uint16_t;

constexpr float FloatOf(Bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

// To the nearest, ties to even; NaN stays NaN.
constexpr Bf16 Bf16Of(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  return static_cast<Bf16>(x != x ? 0x7fc0u : rounded);
}

// Whether the active instruction set (instruction_set.h) has the bfloat16 dot product that the kernels of
// bf16_attention_kernels.h and bf16_lora_kernels.h are made of. They must not be called where it is false. LibTorch's
// matrix products in bfloat16 are slow there, too: float32 is the better choice.
bool HasBf16Instructions();

}  // namespace flowawr::kernels
