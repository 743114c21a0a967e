// The parts of a DiT block between its matrix products, each one differentiable operation.
//
// On CPU they run as the single-pass kernels of elementwise_kernels.h, attention_kernels.h (f32, a few hundred tokens)
// and bf16_attention_kernels.h; on a device that has kernels of its own (device_dispatch.h) as those, but for QuickGelu
// and the attention itself; elsewhere as the same mathematics in LibTorch's own operations. Results do not depend on
// the batch that a sample is in.
//
// Gradients flow to activations only: modulation vectors and norm weights are those of a frozen base.
// Activations are [batch, tokens, dim], contiguous; modulation vectors [batch, dim]. A batch of 1 (where the other
// operand has more) is shared by all samples.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace flowawr {

inline constexpr double kNormEpsilon = 1e-6;

// LayerNorm without affine parameters, then (1 + scale) and + shift.
at::Tensor LayerNormModulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale);

// x + gate * y. Takes y over: without gradients it is overwritten.
at::Tensor GatedResidual(const at::Tensor& x, const at::Tensor& gate, at::Tensor y);

// GELU in its tanh approximation. Takes x over: without gradients it is overwritten.
at::Tensor GeluTanh(at::Tensor x);

// x * sigmoid(1.702 x). Takes x over: without gradients it is overwritten.
at::Tensor QuickGelu(at::Tensor x);

// One stream of an attention: its fused projection [batch, tokens, 3 * dim] of queries, keys and values, or
// [batch, tokens, 2 * dim] of keys and values where its tokens only are attended to; and the RMSNorm weights [head_dim]
// of queries and keys (undefined: no norm).
struct AttentionInput {
  at::Tensor projection;
  bool has_queries = true;
  at::Tensor q_norm;
  at::Tensor k_norm;
};

// Softmax attention of one stream over itself: [batch, tokens, dim].
at::Tensor SelfAttention(const AttentionInput& stream, int64_t heads);

// Both streams attend over the tokens of both. The second result is undefined if `second` has no queries.
std::pair<at::Tensor, at::Tensor> JointAttention(const AttentionInput& first, const AttentionInput& second,
                                                 int64_t heads);

}  // namespace flowawr
