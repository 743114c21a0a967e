// Matrix products, attention and convolutions: LibTorch's, but for bfloat16 on processors without instructions for it.
//
// There LibTorch multiplies one element at a time, or imitates the instructions by others. Here both sides are widened to
// f32 and the result is rounded once, which is what the instructions compute, too; kernels::WidensBf16Products() says where.
// Safe to call from several threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace flowawr {

// Whether products of x are computed in f32 though its type is bfloat16.
bool IsWidened(const at::Tensor& x);

// Of a layer with `in` inputs, how many outputs are computed at a time from a widened copy of their weights: the copy stays
// in the caches. With a few rows that takes a fifth of the time of a copy of all weights, with hundreds a little less.
inline int64_t WidenedOutputs(int64_t in) { return std::max<int64_t>(1, (int64_t{1} << 20) / in); }

// a [rows, inner] b [inner, columns].
at::Tensor MatrixProduct(const at::Tensor& a, const at::Tensor& b);

// x [..., in] weight^T + bias, with weight [out, in] and bias [out], which may be undefined.
at::Tensor AffineProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

struct AttentionOptions {
  std::optional<at::Tensor> bias;  // added to the scores
  bool is_causal = false;
  std::optional<double> scale;  // of the scores; default: 1 / sqrt(head_dim)
};
// Of q, k and v, each [batch, heads, tokens, head_dim]. Gradients flow.
at::Tensor Attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options = {});

// x [batch, in, height, width] with weight [out, in, k, k], the same stride and padding both ways.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                       int64_t padding);

}  // namespace flowawr
