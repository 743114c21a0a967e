#include "common/nn/kernel_choice.h"

#include "common/nn/instruction_set.h"

namespace flowawr::kernels {

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

// MKL's f32 products on AVX2 differ with the number of rows; on AVX-512 they were found alike.
bool LibTorchMultipliesRowsAlike() {
  const InstructionSet set = ActiveInstructionSet();
  return set == InstructionSet::kAvx512 || set == InstructionSet::kAvx512Bf16;
}

}  // namespace flowawr::kernels
