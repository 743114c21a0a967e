// A frozen linear layer whose weight is copied once into the blocks that the processor's matrix kernels want
// (oneDNN's), with what follows the product done while its result is still in registers.
//
// For layers that see many products of about the same number of rows. A plain product of LibTorch brings the weight
// into order each time: with the 257 rows of a ViT picture that, and the passes over memory that follow, take a
// tenth to a fifth of the time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace flowawr {

// Immutable, thread-safe. No gradients. CPU.
class PackedLinear {
 public:
  PackedLinear() = default;

  // `weight` [out, in] and `bias` [out] in one type, f32 or bfloat16; the bias may be undefined. Copied into blocks
  // that suit `rows` rows a product where that is faster on this processor. Else, and for 0 rows, the tensors are kept
  // as they are.
  PackedLinear(const at::Tensor& weight, const at::Tensor& bias, int64_t rows);

  // Whether weights of this type are copied into blocks on this processor.
  static bool Packs(at::ScalarType dtype);

  // x [rows, in] W^T + bias: [rows, out]. Sums are f32, and rounded to the type once, after all that is named. The bits
  // depend on the number of rows and of threads.
  at::Tensor Forward(const at::Tensor& x) const;
  at::Tensor ForwardGelu(const at::Tensor& x) const;                          // then the exact GELU
  at::Tensor ForwardAdd(const at::Tensor& x, const at::Tensor& other) const;  // then + other [rows, out]

 private:
  at::Tensor weight_, bias_;
  at::Tensor packed_;  // undefined: not packed
};

}  // namespace flowawr
