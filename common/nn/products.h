// Matrix products and convolutions: LibTorch's, but for bfloat16 on processors without instructions for it.
//
// There LibTorch multiplies one element at a time. Here both sides are widened to f32 and the result is rounded once, which
// is what the instructions compute, too; kernels::WidensBf16Products() says where. No gradients. Safe to call from several
// threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace flowawr {

// Whether products of x are computed in f32 though its type is bfloat16.
bool IsWidened(const at::Tensor& x);

// a [rows, inner] b [inner, columns].
at::Tensor MatrixProduct(const at::Tensor& a, const at::Tensor& b);

// x [..., in] weight^T + bias, with weight [out, in] and bias [out], which may be undefined.
at::Tensor AffineProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

// x [batch, in, height, width] with weight [out, in, k, k], the same stride and padding both ways.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                       int64_t padding);

}  // namespace flowawr
