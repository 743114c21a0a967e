#include "common/nn/attention_kernels.h"

#include <cmath>
#include <vector>

#include "common/nn/small_gemm.h"
#include "common/nn/vectorised.h"

namespace flowawr::kernels {
namespace {

// One head of one sample, gathered from the streams: everything here stays in the first two cache levels.
struct Head {
  Head(int64_t tokens, int64_t query_tokens, int64_t head_dim)
      : keys(tokens),
        queries(query_tokens),
        padded_keys((tokens + kLanes - 1) / kLanes * kLanes),
        dim(head_dim),
        storage(2 * head_dim * padded_keys + (2 * tokens + query_tokens) * head_dim + query_tokens * padded_keys) {
    k_transposed = storage.data();
    v_transposed = k_transposed + dim * padded_keys;
    k = v_transposed + dim * padded_keys;
    v = k + keys * dim;
    q = v + keys * dim;
    probabilities = q + queries * dim;
  }

  const int64_t keys;
  const int64_t queries;
  const int64_t padded_keys;
  const int64_t dim;
  std::vector<float> storage;  // zeros: the padding of the transposed matrices stays zero
  float* k_transposed;         // [dim, padded_keys]
  float* v_transposed;         // [dim, padded_keys]; backward only
  float* k;                    // [keys, dim], normalised
  float* v;                    // [keys, dim]
  float* q;                    // [queries, dim], normalised and scaled by 1 / sqrt(dim)
  float* probabilities;        // [queries, padded_keys]
};

FLOWAWR_ALWAYS_INLINE float InverseRms(const float* x, int64_t dim, float epsilon) {
  Lanes squares = {};
  for (int64_t i = 0; i < dim; i += kLanes) squares += LoadLanes(x + i) * LoadLanes(x + i);
  return 1.0f / std::sqrt(SumLanes(squares) / static_cast<float>(dim) + epsilon);
}

// out = factor * RMSNorm(x); a null weight leaves the norm out.
FLOWAWR_ALWAYS_INLINE void NormaliseRow(const float* x, const float* weight, int64_t dim, float epsilon, float factor,
                                        float* out) {
  if (weight == nullptr) {
    for (int64_t i = 0; i < dim; ++i) out[i] = factor * x[i];
    return;
  }
  const float scale = factor * InverseRms(x, dim, epsilon);
  for (int64_t i = 0; i < dim; ++i) out[i] = x[i] * scale * weight[i];
}

// The gradient of NormaliseRow with respect to x; `dx` may be `dout`.
FLOWAWR_ALWAYS_INLINE void NormaliseRowBackward(const float* x, const float* weight, int64_t dim, float epsilon,
                                                float factor, const float* dout, float* dx) {
  if (weight == nullptr) {
    for (int64_t i = 0; i < dim; ++i) dx[i] = factor * dout[i];
    return;
  }
  const float inverse_rms = InverseRms(x, dim, epsilon);
  Lanes projection = {};
  for (int64_t i = 0; i < dim; i += kLanes)
    projection += LoadLanes(dout + i) * LoadLanes(weight + i) * LoadLanes(x + i);
  const float slope = SumLanes(projection) * inverse_rms * inverse_rms / static_cast<float>(dim);
  const float scale = factor * inverse_rms;
  for (int64_t i = 0; i < dim; ++i) dx[i] = scale * (dout[i] * weight[i] - x[i] * slope);
}

FLOWAWR_ALWAYS_INLINE void Transpose(const float* rows, int64_t count, int64_t dim, float* columns,
                                     int64_t column_row) {
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t i = 0; i < dim; ++i) columns[i * column_row + t] = rows[t * dim + i];
  }
}

// Appends one stream's tokens to the head; `key` and `query` count the rows filled so far.
FLOWAWR_ALWAYS_INLINE void Gather(const AttentionSize& size, const AttentionStream& stream, int64_t offset, Head& head,
                                  int64_t& key, int64_t& query) {
  const float softmax_scale = 1.0f / std::sqrt(static_cast<float>(head.dim));
  for (int64_t t = 0; t < stream.tokens; ++t) {
    const int64_t at = offset + t * stream.row_stride;
    NormaliseRow(stream.k + at, stream.k_norm, head.dim, size.norm_epsilon, 1.0f, head.k + key * head.dim);
    std::memcpy(head.v + key * head.dim, stream.v + at, head.dim * sizeof(float));
    ++key;
    if (stream.q == nullptr) continue;
    NormaliseRow(stream.q + at, stream.q_norm, head.dim, size.norm_epsilon, softmax_scale, head.q + query * head.dim);
    ++query;
  }
}

// The padding takes part with a score whose exponential is next to nothing, and then with none.
FLOWAWR_ALWAYS_INLINE void Softmax(Head& head) {
  for (int64_t i = 0; i < head.queries; ++i) {
    float* row = head.probabilities + i * head.padded_keys;
    for (int64_t j = head.keys; j < head.padded_keys; ++j) row[j] = -1e30f;
    Lanes highest = LoadLanes(row);
    for (int64_t j = kLanes; j < head.padded_keys; j += kLanes) {
      const Lanes scores = LoadLanes(row + j);
      highest = scores > highest ? scores : highest;
    }
    const float maximum = MaxLanes(highest);
    Lanes sum = {};
    for (int64_t j = 0; j < head.padded_keys; j += kLanes) {
      const Lanes weights = Exp<IntLanes>(LoadLanes(row + j) - maximum);
      StoreLanes(weights, row + j);
      sum += weights;
    }
    const float inverse = 1.0f / SumLanes(sum);
    for (int64_t j = 0; j < head.padded_keys; j += kLanes) StoreLanes(LoadLanes(row + j) * inverse, row + j);
  }
}

// Fills q, k, v and the probabilities for head h of sample b.
FLOWAWR_ALWAYS_INLINE void Attend(const AttentionSize& size, const AttentionStream& first,
                                  const AttentionStream& second, int64_t b, int64_t h, Head& head) {
  int64_t key = 0;
  int64_t query = 0;
  Gather(size, first, b * first.batch_stride + h * head.dim, head, key, query);
  Gather(size, second, b * second.batch_stride + h * head.dim, head, key, query);
  Transpose(head.k, head.keys, head.dim, head.k_transposed, head.padded_keys);
  SmallGemm(head.queries, head.padded_keys, head.dim, {head.q, head.dim, 1}, head.k_transposed, head.padded_keys,
            head.probabilities, head.padded_keys);
  Softmax(head);
}

// Gradients of one stream's k, v and, where it has them, q, from those of the gathered rows.
FLOWAWR_ALWAYS_INLINE void Scatter(const AttentionSize& size, const AttentionStream& stream,
                                   const AttentionStreamGradient& gradient, int64_t offset, const Head& head,
                                   const float* dq, const float* dk, const float* dv) {
  const float softmax_scale = 1.0f / std::sqrt(static_cast<float>(head.dim));
  for (int64_t t = 0; t < stream.tokens; ++t) {
    const int64_t at = offset + t * stream.row_stride;
    NormaliseRowBackward(stream.k + at, stream.k_norm, head.dim, size.norm_epsilon, 1.0f, dk + t * head.dim,
                         gradient.dk + at);
    std::memcpy(gradient.dv + at, dv + t * head.dim, head.dim * sizeof(float));
    if (stream.q == nullptr) continue;
    NormaliseRowBackward(stream.q + at, stream.q_norm, head.dim, size.norm_epsilon, softmax_scale, dq + t * head.dim,
                         gradient.dq + at);
  }
}

int64_t Queries(const AttentionStream& stream) { return stream.q == nullptr ? 0 : stream.tokens; }

}  // namespace

FLOWAWR_VECTORISED void Attention(const AttentionSize& size, const AttentionStream& first,
                                  const AttentionStream& second, float* first_out, float* second_out) {
  const int64_t width = size.heads * size.head_dim;
  const int64_t first_queries = Queries(first);
  const int64_t second_queries = Queries(second);
  Head head(first.tokens + second.tokens, first_queries + second_queries, size.head_dim);
  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t h = 0; h < size.heads; ++h) {
      Attend(size, first, second, b, h, head);
      SmallGemm(first_queries, head.dim, head.keys, {head.probabilities, head.padded_keys, 1}, head.v, head.dim,
                first_out + b * first_queries * width + h * head.dim, width);
      if (second_queries == 0) continue;
      SmallGemm(second_queries, head.dim, head.keys,
                {head.probabilities + first_queries * head.padded_keys, head.padded_keys, 1}, head.v, head.dim,
                second_out + b * second_queries * width + h * head.dim, width);
    }
  }
}

FLOWAWR_VECTORISED void AttentionBackward(const AttentionSize& size, const AttentionStream& first,
                                          const AttentionStream& second, const AttentionStreamGradient& first_gradient,
                                          const AttentionStreamGradient& second_gradient) {
  const int64_t width = size.heads * size.head_dim;
  const int64_t first_queries = Queries(first);
  const int64_t second_queries = Queries(second);
  Head head(first.tokens + second.tokens, first_queries + second_queries, size.head_dim);
  const int64_t dim = head.dim;
  const int64_t padded = head.padded_keys;
  std::vector<float> storage((2 * head.queries + 2 * head.keys) * dim + head.queries * padded);
  float* const dout = storage.data();           // [queries, dim]
  float* const dq = dout + head.queries * dim;  // [queries, dim]
  float* const dk = dq + head.queries * dim;    // [keys, dim]
  float* const dv = dk + head.keys * dim;       // [keys, dim]
  float* const dscores = dv + head.keys * dim;  // [queries, padded_keys], first the probabilities' gradient

  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t h = 0; h < size.heads; ++h) {
      Attend(size, first, second, b, h, head);
      Transpose(head.v, head.keys, dim, head.v_transposed, padded);
      for (int64_t i = 0; i < first_queries; ++i) {
        std::memcpy(dout + i * dim, first_gradient.dout + (b * first_queries + i) * width + h * dim,
                    dim * sizeof(float));
      }
      for (int64_t i = 0; i < second_queries; ++i) {
        std::memcpy(dout + (first_queries + i) * dim, second_gradient.dout + (b * second_queries + i) * width + h * dim,
                    dim * sizeof(float));
      }

      SmallGemm(head.keys, dim, head.queries, {head.probabilities, 1, padded}, dout, dim, dv, dim);
      SmallGemm(head.queries, padded, dim, {dout, dim, 1}, head.v_transposed, padded, dscores, padded);
      for (int64_t i = 0; i < head.queries; ++i) {
        const float* p = head.probabilities + i * padded;
        float* d = dscores + i * padded;
        Lanes product = {};
        for (int64_t j = 0; j < padded; j += kLanes) product += LoadLanes(p + j) * LoadLanes(d + j);
        const float expected = SumLanes(product);
        for (int64_t j = 0; j < padded; j += kLanes)
          StoreLanes(LoadLanes(p + j) * (LoadLanes(d + j) - expected), d + j);
      }
      SmallGemm(head.queries, dim, head.keys, {dscores, padded, 1}, head.k, dim, dq, dim);
      SmallGemm(head.keys, dim, head.queries, {dscores, 1, padded}, head.q, dim, dk, dim);

      Scatter(size, first, first_gradient, b * first.batch_stride + h * dim, head, dq, dk, dv);
      Scatter(size, second, second_gradient, b * second.batch_stride + h * dim, head, dq + first_queries * dim,
              dk + first.tokens * dim, dv + first.tokens * dim);
    }
  }
}

}  // namespace flowawr::kernels
