// Softmax attention in bfloat16 over thousands of tokens, RMSNorm of queries and keys included, straight from the fused
// q, k, v projections of one or two token streams and back. Products are summed in f32; scores never leave the caches.
// CPU with HasBf16Instructions(). Source of the blockwise softmax: arXiv 2205.14135.
#pragma once

#include <cstdint>

#include "common/nn/attention_kernels.h"
#include "common/nn/bf16.h"

namespace flowawr::kernels {

// As AttentionStream, in bfloat16.
struct Bf16AttentionStream {
  int64_t tokens = 0;
  const Bf16* q = nullptr;
  const Bf16* k = nullptr;
  const Bf16* v = nullptr;
  int64_t row_stride = 0;
  int64_t batch_stride = 0;
  const Bf16* q_norm = nullptr;
  const Bf16* k_norm = nullptr;
};

// What two streams' queries make, [batch, tokens, heads * head_dim], contiguous; null where a stream has no queries.
struct Bf16AttentionOutput {
  Bf16* first = nullptr;
  Bf16* second = nullptr;
  // [batch, heads, queries of both streams]: the base-2 logarithm of each softmax's denominator, which the backward
  // pass needs; null: not wanted.
  float* log_sums = nullptr;
};

// Heads [begin, end) of batch * heads, sample by sample: what threads share out among them. A head's result does not
// depend on the range it is in.
void Bf16Attention(const AttentionSize& size, const Bf16AttentionStream& first, const Bf16AttentionStream& second,
                   int64_t begin, int64_t end, const Bf16AttentionOutput& out);

// What one stream gave and what flows back into it, laid out as the outputs and the inputs; `out`, `dout` and `dq` are
// null where it has no queries.
struct Bf16AttentionGradient {
  const Bf16* out = nullptr;
  const Bf16* dout = nullptr;
  Bf16* dq = nullptr;
  Bf16* dk = nullptr;
  Bf16* dv = nullptr;
};

// Streams must not have batch stride 0.
void Bf16AttentionBackward(const AttentionSize& size, const Bf16AttentionStream& first,
                           const Bf16AttentionStream& second, int64_t begin, int64_t end, const float* log_sums,
                           const Bf16AttentionGradient& first_gradient, const Bf16AttentionGradient& second_gradient);

}  // namespace flowawr::kernels
