#include "common/nn/kernel_choice.h"

#include "common/nn/instruction_set.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace flowawr::kernels {
namespace {

// AMX-BF16. GCC 12's __builtin_cpu_supports() does not know its name.
bool HasMatrixTiles() {
#if defined(__x86_64__)
  static const bool has = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned kAmxBf16 = 1u << 22;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16) != 0;
  }();
  return has;
#else
  return false;
#endif
}

}  // namespace

bool IsChosen(Kernel kernel) {
  const InstructionSet set = ActiveInstructionSet();
  switch (kernel) {
    case Kernel::kMatMul:
    case Kernel::kAttention:
      return set != InstructionSet::kBaseline;
    case Kernel::kElementwise:
    case Kernel::kGroupNorm:
      return true;
    case Kernel::kBf16:
      return set == InstructionSet::kAvx512Bf16;
  }
  return false;
}

// MKL's f32 products on AVX2 differ with the number of rows, and so do oneDNN's bfloat16 products by matrix tiles (AMX);
// the others on AVX-512 were found alike.
bool LibTorchMultipliesRowsAlike(bool is_bfloat16) {
  const InstructionSet set = ActiveInstructionSet();
  if (set != InstructionSet::kAvx512 && set != InstructionSet::kAvx512Bf16) return false;
  return !is_bfloat16 || !HasMatrixTiles();
}

// Measured with LibTorch 2.13, one thread, times that f32 takes. AVX2: 6.8 for x W^T of 1024 rows, 110 for x W, 90 for a
// convolution of 3 x 3; widened 1.4. AVX-512 without its bfloat16 instructions, where oneDNN imitates them: 5.2, 5.2 and
// 5; widened 1.15. Only for a few rows, as of modulation vectors, is oneDNN's the faster one there.
bool WidensBf16Products() {
  switch (ActiveInstructionSet()) {
    case InstructionSet::kBaseline:
    case InstructionSet::kSse4:
    case InstructionSet::kAvx2:
    case InstructionSet::kAvx512:
      return true;
    default:
      return false;
  }
}

}  // namespace flowawr::kernels
