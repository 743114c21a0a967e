#include "common/nn/bf16.h"

#include "common/nn/instruction_set.h"

namespace flowawr::kernels {

bool HasBf16Instructions() { return ActiveInstructionSet() == InstructionSet::kAvx512Bf16; }

}  // namespace flowawr::kernels
