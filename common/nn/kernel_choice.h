// Where a kernel takes the place of LibTorch's operations: only on the instruction sets on which it was measured
// faster. The one place for that rule; what a kernel can take (types, sizes, threads) is said where it is called.
#pragma once

namespace flowawr::kernels {

enum class Kernel {
  kMatMul,       // linear_kernels.h
  kAttention,    // attention_kernels.h
  kElementwise,  // elementwise_kernels.h
  kGroupNorm,    // group_norm_kernels.h
  kBf16,         // bf16_attention_kernels.h, bf16_lora_kernels.h
};

// On the active instruction set (instruction_set.h). The measurements stand beside the table in kernel_choice.cc.
bool IsChosen(Kernel kernel);

// Whether LibTorch's product of 16 rows or more, f32 or bfloat16, has the same bits for a row whatever their number. Where
// not, samples are multiplied one by one, so that the bits of one do not depend on its batch.
bool LibTorchMultipliesRowsAlike(bool is_bfloat16);

// Whether bfloat16 products are computed in f32 (products.h), because LibTorch's are slower.
bool WidensBf16Products();

}  // namespace flowawr::kernels
