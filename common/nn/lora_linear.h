// A frozen linear layer, or several that read the same input fused into one, with an optional LoRA adapter.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/nn/stacked_weight.h"

namespace flowawr {

namespace kernels {
class Bf16Lora;
}

// y = x W^T + b, where W has the layers named in `names` one under another, each with its number of output features.
struct FrozenLinear {
  std::vector<std::string> names;
  std::vector<int64_t> widths;
  StackedWeight weight;          // [sum of widths, in]
  at::Tensor bias;               // [sum of widths]
  at::Tensor transposed_weight;  // [in, sum of widths], see TransposeIfSmall
};

// Where the adapter of one stacked layer adds to the fused output.
struct LoraPart {
  int64_t column = 0;  // first of its outputs
  int64_t width = 0;
};

// What an adapter does to one FrozenLinear.
struct LinearLora {
  // W + scale * B A, if it was folded; undefined: computed beside the base, as peft does.
  at::Tensor folded_weight;
  at::Tensor folded_transposed_weight;  // see TransposeIfSmall
  // The adapters of the parts, stacked; undefined where no gradient is wanted and the weight is folded.
  at::Tensor A;  // [parts * rank, in] f32
  at::Tensor B;  // [sum of the parts' widths, rank] f32
  std::vector<LoraPart> parts;
  double scale = 0;
  // Of A and B for products in bfloat16, see PackLora: on the CPU for the kernels, elsewhere rounded.
  std::shared_ptr<const kernels::Bf16Lora> packed;
  at::Tensor rounded_A;
  at::Tensor rounded_B;
};

// x [..., in] contiguous to [..., sum of widths]. Gradients flow to x, A and B. `lora` may be null.
at::Tensor Linear(const FrozenLinear& linear, const at::Tensor& x, const LinearLora* lora = nullptr);

// Records the same for the backward pass but leaves the values out (they are anything): for activations computed again
// where nothing reads this one.
at::Tensor LinearForGradient(const FrozenLinear& linear, const at::Tensor& x, const LinearLora* lora = nullptr);

// Sets the folded weights: W + scale * B A, computed in f32, in W's type.
void FoldLora(const FrozenLinear& linear, LinearLora& lora);

// Beside a bfloat16 layer, sets what the adapter's products are computed with: `packed` for the CPU's kernels, if they
// take this layer (else products are LibTorch's, in f32), and rounded matrices on every other device. Sums and the
// gradients of A and B are f32 either way. To be called again when A and B change.
void PackLora(const FrozenLinear& linear, LinearLora& lora);

// The transpose of a weight that the kernel of linear_kernels.h takes: f32 on CPU, of a size that stays in the cache.
// Undefined for others, which LibTorch multiplies as they are.
// A layer that is given a few rows a sample may be larger.
at::Tensor TransposeIfSmall(const at::Tensor& weight, bool is_for_few_rows = false);

}  // namespace flowawr
