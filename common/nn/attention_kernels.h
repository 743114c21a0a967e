// Softmax attention over a few hundred tokens, RMSNorm of queries and keys included, straight from the fused q, k, v
// projections of one or two token streams and back: nothing is concatenated, transposed or spilt to memory between.
// f32, CPU, one thread. Long sequences belong to a tiled attention (LibTorch's), not here.
#pragma once

#include <cstdint>

namespace flowawr::kernels {

struct AttentionSize {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;    // a multiple of kHeadDimMultiple, at most kMaxHeadDim
  float norm_epsilon = 0;  // of the RMSNorm
};
inline constexpr int64_t kHeadDimMultiple = 16;
inline constexpr int64_t kMaxHeadDim = 128;
inline constexpr int64_t kMaxAttentionTokens = 256;  // over both streams

// The tokens of one stream: row t of sample b of q begins at q + b * batch_stride + t * row_stride, head h at
// h * head_dim therein; k and v likewise.
struct AttentionStream {
  int64_t tokens = 0;
  const float* q = nullptr;  // null: its tokens are attended to but do not attend
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t row_stride = 0;
  int64_t batch_stride = 0;       // 0: every sample has the same tokens
  const float* q_norm = nullptr;  // RMSNorm weights [head_dim]; null: no norm
  const float* k_norm = nullptr;
};

// Attends over the tokens of both streams; `second.tokens` may be 0.
// Outputs are [batch, tokens, heads * head_dim], contiguous; null where a stream has no queries.
void Attention(const AttentionSize& size, const AttentionStream& first, const AttentionStream& second, float* first_out,
               float* second_out);

// Gradients of one stream, laid out as the inputs. `dq` is null where `q` is.
struct AttentionStreamGradient {
  const float* dout = nullptr;
  float* dq = nullptr;
  float* dk = nullptr;
  float* dv = nullptr;
};

// Computes the probabilities again, so the forward pass keeps nothing but q, k, v. Streams must not have batch stride
// 0.
void AttentionBackward(const AttentionSize& size, const AttentionStream& first, const AttentionStream& second,
                       const AttentionStreamGradient& first_gradient, const AttentionStreamGradient& second_gradient);

}  // namespace flowawr::kernels
