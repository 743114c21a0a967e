#include "common/nn/attention_kernels.h"

#include <cmath>
#include <vector>

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/nn/attention_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace {

// One head of one sample, gathered from the streams: everything here stays in the first two cache levels.
struct Head {
  Head(int64_t tokens, int64_t query_tokens, int64_t head_dim)
      : keys(tokens),
        queries(query_tokens),
        padded_keys((tokens + kColumnMultiple - 1) / kColumnMultiple * kColumnMultiple),
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

HWY_INLINE float InverseRms(const float* x, int64_t dim, float epsilon) {
  const float squares = Sum(dim, [](V value) HWY_ATTR { return hn::Mul(value, value); }, x);
  return 1.0f / std::sqrt(squares / static_cast<float>(dim) + epsilon);
}

// out = factor * RMSNorm(x); a null weight leaves the norm out.
HWY_INLINE void NormaliseRow(const float* x, const float* weight, int64_t dim, float epsilon, float factor,
                             float* out) {
  if (weight == nullptr) {
    Map(dim, [factor](V value) HWY_ATTR { return hn::Mul(Set(factor), value); }, out, x);
    return;
  }
  const float scale = factor * InverseRms(x, dim, epsilon);
  Map(dim, [scale](V value, V weights) HWY_ATTR { return hn::Mul(hn::Mul(value, Set(scale)), weights); }, out, x,
      weight);
}

// The gradient of NormaliseRow with respect to x; `dx` may be `dout`.
HWY_INLINE void NormaliseRowBackward(const float* x, const float* weight, int64_t dim, float epsilon, float factor,
                                     const float* dout, float* dx) {
  if (weight == nullptr) {
    Map(dim, [factor](V value) HWY_ATTR { return hn::Mul(Set(factor), value); }, dx, dout);
    return;
  }
  const float inverse_rms = InverseRms(x, dim, epsilon);
  const float projection = Sum(
      dim, [](V value, V weights, V gradient) HWY_ATTR { return hn::Mul(hn::Mul(gradient, weights), value); }, x,
      weight, dout);
  const float slope = projection * inverse_rms * inverse_rms / static_cast<float>(dim);
  const float scale = factor * inverse_rms;
  Map(
      dim,
      [scale, slope](V value, V weights, V gradient) HWY_ATTR {
        return hn::Mul(Set(scale), hn::NegMulAdd(value, Set(slope), hn::Mul(gradient, weights)));
      },
      dx, x, weight, dout);
}

#if HWY_TARGET == HWY_SCALAR
inline constexpr int64_t kBlock = 1;
HWY_INLINE void TransposeBlock(const float* from, int64_t, float* to, int64_t) { *to = *from; }
#else
inline constexpr int64_t kBlock = 4;
HWY_INLINE void TransposeBlock(const float* from, int64_t from_row, float* to, int64_t to_row) {
  const hn::FixedTag<float, 4> four;
  const hn::FixedTag<uint64_t, 2> pairs;
  const auto row0 = hn::LoadU(four, from), row1 = hn::LoadU(four, from + from_row);
  const auto row2 = hn::LoadU(four, from + 2 * from_row), row3 = hn::LoadU(four, from + 3 * from_row);
  const auto lower01 = hn::BitCast(pairs, hn::InterleaveLower(four, row0, row1));
  const auto lower23 = hn::BitCast(pairs, hn::InterleaveLower(four, row2, row3));
  const auto upper01 = hn::BitCast(pairs, hn::InterleaveUpper(four, row0, row1));
  const auto upper23 = hn::BitCast(pairs, hn::InterleaveUpper(four, row2, row3));
  hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, lower01, lower23)), four, to);
  hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, lower01, lower23)), four, to + to_row);
  hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, upper01, upper23)), four, to + 2 * to_row);
  hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, upper01, upper23)), four, to + 3 * to_row);
}
#endif

// columns [dim, column_row] = rows [count, dim], transposed.
HWY_INLINE void Transpose(const float* rows, int64_t count, int64_t dim, float* columns, int64_t column_row) {
  const auto copy = [&](int64_t t, int64_t i) { columns[i * column_row + t] = rows[t * dim + i]; };
  int64_t t = 0;
  for (; t + kBlock <= count; t += kBlock) {
    int64_t i = 0;
    for (; i + kBlock <= dim; i += kBlock) TransposeBlock(rows + t * dim + i, dim, columns + i * column_row + t, column_row);
    for (; i < dim; ++i) {
      for (int64_t u = t; u < t + kBlock; ++u) copy(u, i);
    }
  }
  for (; t < count; ++t) {
    for (int64_t i = 0; i < dim; ++i) copy(t, i);
  }
}

// Appends one stream's tokens to the head; `key` and `query` count the rows filled so far.
HWY_INLINE void Gather(const AttentionSize& size, const AttentionStream& stream, int64_t offset, Head& head,
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
HWY_INLINE void Softmax(Head& head) {
  for (int64_t i = 0; i < head.queries; ++i) {
    float* row = head.probabilities + i * head.padded_keys;
    for (int64_t j = head.keys; j < head.padded_keys; ++j) row[j] = -1e30f;
    V highest = Load(row);
    for (int64_t j = kLanes; j < head.padded_keys; j += kLanes) highest = hn::Max(highest, Load(row + j));
    const V maximum = Set(MaxOf(highest));
    V sum = Zero();
    for (int64_t j = 0; j < head.padded_keys; j += kLanes) {
      const V weights = Exp(hn::Sub(Load(row + j), maximum));
      Store(weights, row + j);
      sum = hn::Add(sum, weights);
    }
    const V inverse = Set(1.0f / SumOf(sum));
    for (int64_t j = 0; j < head.padded_keys; j += kLanes) Store(hn::Mul(Load(row + j), inverse), row + j);
  }
}

// Fills q, k, v and the probabilities for head h of sample b.
HWY_INLINE void Attend(const AttentionSize& size, const AttentionStream& first,
                                  const AttentionStream& second, int64_t b, int64_t h, Head& head) {
  int64_t key = 0;
  int64_t query = 0;
  Gather(size, first, b * first.batch_stride + h * head.dim, head, key, query);
  Gather(size, second, b * second.batch_stride + h * head.dim, head, key, query);
  Transpose(head.k, head.keys, head.dim, head.k_transposed, head.padded_keys);
  SmallGemm(head.queries, head.padded_keys, head.dim, {head.q, head.dim, 1}, head.k_transposed, head.padded_keys,
            {head.probabilities, head.padded_keys});
  Softmax(head);
}

// Gradients of one stream's k, v and, where it has them, q, from those of the gathered rows.
HWY_INLINE void Scatter(const AttentionSize& size, const AttentionStream& stream,
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

void Attention(const AttentionSize& size, const AttentionStream& first,
                                  const AttentionStream& second, float* first_out, float* second_out) {
  const int64_t width = size.heads * size.head_dim;
  const int64_t first_queries = Queries(first);
  const int64_t second_queries = Queries(second);
  Head head(first.tokens + second.tokens, first_queries + second_queries, size.head_dim);
  for (int64_t b = 0; b < size.batch; ++b) {
    for (int64_t h = 0; h < size.heads; ++h) {
      Attend(size, first, second, b, h, head);
      SmallGemm(first_queries, head.dim, head.keys, {head.probabilities, head.padded_keys, 1}, head.v, head.dim,
                {first_out + b * first_queries * width + h * head.dim, width});
      if (second_queries == 0) continue;
      SmallGemm(second_queries, head.dim, head.keys,
                {head.probabilities + first_queries * head.padded_keys, head.padded_keys, 1}, head.v, head.dim,
                {second_out + b * second_queries * width + h * head.dim, width});
    }
  }
}

void AttentionBackward(const AttentionSize& size, const AttentionStream& first,
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

      SmallGemm(head.keys, dim, head.queries, {head.probabilities, 1, padded}, dout, dim, {dv, dim});
      SmallGemm(head.queries, padded, dim, {dout, dim, 1}, head.v_transposed, padded, {dscores, padded});
      for (int64_t i = 0; i < head.queries; ++i) {
        const float* p = head.probabilities + i * padded;
        float* d = dscores + i * padded;
        const float expected = Sum(padded, [](V weight, V slope) HWY_ATTR { return hn::Mul(weight, slope); }, p, d);
        Map(
            padded,
            [expected](V weight, V slope) HWY_ATTR { return hn::Mul(weight, hn::Sub(slope, Set(expected))); }, d, p,
            d);
      }
      SmallGemm(head.queries, dim, head.keys, {dscores, padded, 1}, head.k, dim, {dq, dim});
      SmallGemm(head.keys, dim, head.queries, {dscores, 1, padded}, head.q, dim, {dk, dim});

      Scatter(size, first, first_gradient, b * first.batch_stride + h * dim, head, dq, dk, dv);
      Scatter(size, second, second_gradient, b * second.batch_stride + h * dim, head, dq + first_queries * dim,
              dk + first.tokens * dim, dv + first.tokens * dim);
    }
  }
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(Attention);
HWY_EXPORT(AttentionBackward);

void Attention(const AttentionSize& size, const AttentionStream& first, const AttentionStream& second, float* first_out,
               float* second_out) {
  FLOWAWR_DISPATCH(Attention)(size, first, second, first_out, second_out);
}

void AttentionBackward(const AttentionSize& size, const AttentionStream& first, const AttentionStream& second,
                       const AttentionStreamGradient& first_gradient, const AttentionStreamGradient& second_gradient) {
  FLOWAWR_DISPATCH(AttentionBackward)(size, first, second, first_gradient, second_gradient);
}

}  // namespace flowawr::kernels
#endif
