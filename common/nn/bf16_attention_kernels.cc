#include "common/nn/bf16_attention_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "common/nn/bf16_simd.h"

namespace flowawr::kernels {

#if FLOWAWR_HAS_BF16_KERNELS

namespace {

// One tile of scores: keys down, queries across, so that the softmax runs along no register.
constexpr int64_t kKeyBlock = 64;
constexpr int64_t kQueryBlock = 64;
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;
constexpr float kNever = -1e30f;  // a score whose exponential is 0

int64_t RoundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

struct HeadShape {
  HeadShape(const AttentionSize& size, const Bf16AttentionStream& first, const Bf16AttentionStream& second)
      : dim(size.head_dim),
        keys(first.tokens + second.tokens),
        queries((first.q == nullptr ? 0 : first.tokens) + (second.q == nullptr ? 0 : second.tokens)),
        padded_keys(RoundUp(keys, 2 * kVector)),
        padded_queries(RoundUp(queries, kVector)),
        padded_pairs(RoundUp(dim / 2, kVector)) {}

  // Rows of queries, and one tile's width behind them, as TransposeWords() reads them; and what it makes of them.
  int64_t query_elements() const { return padded_queries * dim + 2 * kVector; }
  int64_t query_pairs() const { return padded_pairs * padded_queries; }

  int64_t dim, keys, queries;
  int64_t padded_keys, padded_queries, padded_pairs;  // the last ones are nothing
};

FLOWAWR_BF16_INLINE float InverseRms(const Bf16* x, int64_t dim, float epsilon) {
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < dim; i += kVector) squares = _mm512_fmadd_ps(LoadBf16(x + i), LoadBf16(x + i), squares);
  return 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / static_cast<float>(dim) + epsilon);
}

// out = factor * RMSNorm(x); a null weight leaves the norm out.
FLOWAWR_BF16_INLINE void NormaliseRow(const Bf16* x, const Bf16* weight, int64_t dim, float epsilon, float factor,
                                      Bf16* out) {
  const __m512 scale = _mm512_set1_ps(weight == nullptr ? factor : factor * InverseRms(x, dim, epsilon));
  for (int64_t i = 0; i < dim; i += kVector) {
    const __m512 scaled = _mm512_mul_ps(LoadBf16(x + i), scale);
    StoreBf16(weight == nullptr ? scaled : _mm512_mul_ps(scaled, LoadBf16(weight + i)), out + i);
  }
}

// The gradient of NormaliseRow with respect to x, rounded to bfloat16.
FLOWAWR_BF16_INLINE void NormaliseRowBackward(const Bf16* x, const Bf16* weight, int64_t dim, float epsilon,
                                              float factor, const float* dout, Bf16* dx) {
  if (weight == nullptr) {
    for (int64_t i = 0; i < dim; i += kVector)
      StoreBf16(_mm512_mul_ps(_mm512_loadu_ps(dout + i), _mm512_set1_ps(factor)), dx + i);
    return;
  }
  const float inverse_rms = InverseRms(x, dim, epsilon);
  __m512 projection = _mm512_setzero_ps();
  for (int64_t i = 0; i < dim; i += kVector) {
    const __m512 weighted = _mm512_mul_ps(_mm512_loadu_ps(dout + i), LoadBf16(weight + i));
    projection = _mm512_fmadd_ps(weighted, LoadBf16(x + i), projection);
  }
  const __m512 slope =
      _mm512_set1_ps(_mm512_reduce_add_ps(projection) * inverse_rms * inverse_rms / static_cast<float>(dim));
  const __m512 scale = _mm512_set1_ps(factor * inverse_rms);
  for (int64_t i = 0; i < dim; i += kVector) {
    const __m512 weighted = _mm512_mul_ps(_mm512_loadu_ps(dout + i), LoadBf16(weight + i));
    StoreBf16(_mm512_mul_ps(scale, _mm512_fnmadd_ps(LoadBf16(x + i), slope, weighted)), dx + i);
  }
}

// [rows, columns] words to [columns, rows], both counted up to the next multiple of kVector: what is read and written
// beyond `columns` is of no meaning, but must be there.
FLOWAWR_BF16_TARGET void TransposeWords(const void* in, int64_t rows, int64_t columns, void* out) {
  for (int64_t i = 0; i < rows; i += kVector) {
    for (int64_t j = 0; j < columns; j += kVector)
      TransposeTile(static_cast<const uint32_t*>(in) + i * columns + j, columns,
                    static_cast<uint32_t*>(out) + j * rows + i, rows);
  }
}

// [count, dim] to [count / 2, dim] of pairs: two rows interleaved; `count` is even.
FLOWAWR_BF16_TARGET void PairRows(const Bf16* rows, int64_t count, int64_t dim, uint32_t* out) {
  for (int64_t t = 0; t < count; t += 2) {
    for (int64_t i = 0; i < dim; i += kVector)
      StorePairs(rows + t * dim + i, rows + (t + 1) * dim + i, out + t / 2 * dim + i);
  }
}

// The transpose [dim, count] of [count, dim]: of its pairs of rows, word by word. `count` is a multiple of twice
// kVector.
void Transpose(const Bf16* rows, int64_t count, int64_t dim, std::vector<uint32_t>& pairs, Bf16* out) {
  pairs.resize(count / 2 * dim);
  PairRows(rows, count, dim, pairs.data());
  TransposeWords(pairs.data(), count / 2, dim, out);
}

// Rows of a head lie far apart: the processor does not see them coming.
constexpr int64_t kPrefetchedRows = 8;

FLOWAWR_BF16_INLINE void Prefetch(const Bf16AttentionStream& stream, int64_t at, int64_t dim) {
  for (int64_t i = 0; i < dim; i += 2 * kVector) {
    _mm_prefetch(reinterpret_cast<const char*>(stream.k + at + i), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(stream.v + at + i), _MM_HINT_T0);
    if (stream.q != nullptr) _mm_prefetch(reinterpret_cast<const char*>(stream.q + at + i), _MM_HINT_T0);
  }
}

// The rows of one head, gathered from both streams, norms applied, queries scaled so that the softmax is one of powers
// of two. Rows beyond the tokens are zeros.
struct GatheredHead {
  explicit GatheredHead(const HeadShape& shape)
      : q(shape.query_elements()), k(shape.padded_keys * shape.dim), v(shape.padded_keys * shape.dim) {}

  FLOWAWR_BF16_TARGET void Fill(const AttentionSize& size, const Bf16AttentionStream& first,
                                const Bf16AttentionStream& second, int64_t b, int64_t h) {
    int64_t key = 0, query = 0;
    const float factor = kLog2E / std::sqrt(static_cast<float>(size.head_dim));
    for (const Bf16AttentionStream* stream : {&first, &second}) {
      for (int64_t t = 0; t < stream->tokens; ++t) {
        const int64_t at = b * stream->batch_stride + t * stream->row_stride + h * size.head_dim;
        Prefetch(*stream, at + std::min(kPrefetchedRows, stream->tokens - 1 - t) * stream->row_stride, size.head_dim);
        NormaliseRow(stream->k + at, stream->k_norm, size.head_dim, size.norm_epsilon, 1.0f,
                     k.data() + key * size.head_dim);
        std::memcpy(v.data() + key * size.head_dim, stream->v + at, size.head_dim * sizeof(Bf16));
        ++key;
        if (stream->q == nullptr) continue;
        NormaliseRow(stream->q + at, stream->q_norm, size.head_dim, size.norm_epsilon, factor,
                     q.data() + query * size.head_dim);
        ++query;
      }
    }
  }

  std::vector<Bf16> q, k, v;
};

// The softmax of some queries over the keys seen so far.
struct OnlineSoftmax {
  float highest[kQueryBlock];
  float sum[kQueryBlock];

  void Reset() {
    std::fill_n(highest, kQueryBlock, kNever);
    std::fill_n(sum, kQueryBlock, 0.0f);
  }

  // Turns scores [keys, kQueryBlock] (an even number of keys) into paired weights [keys / 2, kQueryBlock], relative to
  // the highest score so far; scales what was summed up relative to an earlier one, values [dim, kQueryBlock] included.
  FLOWAWR_BF16_TARGET void Add(const float* scores, int64_t keys, int64_t columns, int64_t dim, uint32_t* weights,
                               float* values) {
    for (int64_t j = 0; j < columns; j += kVector) {
      const __m512 before = _mm512_loadu_ps(highest + j);
      __m512 now = before;
      for (int64_t i = 0; i < keys; ++i) now = _mm512_max_ps(now, _mm512_loadu_ps(scores + i * kQueryBlock + j));
      __m512 total = _mm512_loadu_ps(sum + j);
      if (_mm512_cmp_ps_mask(now, before, _CMP_NEQ_OQ) != 0) {
        const __m512 factor = Exp2(_mm512_sub_ps(before, now));
        total = _mm512_mul_ps(total, factor);
        for (int64_t d = 0; d < dim; ++d) {
          float* value = values + d * kQueryBlock + j;
          _mm512_storeu_ps(value, _mm512_mul_ps(_mm512_loadu_ps(value), factor));
        }
        _mm512_storeu_ps(highest + j, now);
      }
      for (int64_t i = 0; i < keys; i += 2) {
        const float* row = scores + i * kQueryBlock + j;
        const __m512 even = Exp2(_mm512_sub_ps(_mm512_loadu_ps(row), now));
        const __m512 odd = Exp2(_mm512_sub_ps(_mm512_loadu_ps(row + kQueryBlock), now));
        total = _mm512_add_ps(total, _mm512_add_ps(even, odd));
        StorePairs(even, odd, weights + i / 2 * kQueryBlock + j);
      }
      _mm512_storeu_ps(sum + j, total);
    }
  }
};

// Row q of the queries of both streams in what they gave for sample b, at head h's columns.
struct RowFinder {
  const AttentionSize& size;
  int64_t first_queries, second_queries;
  int64_t b, h;

  template <typename Element>
  Element* operator()(Element* first_out, Element* second_out, int64_t q) const {
    const int64_t width = size.heads * size.head_dim;
    if (q < first_queries) return first_out + (b * first_queries + q) * width + h * size.head_dim;
    return second_out + (b * second_queries + q - first_queries) * width + h * size.head_dim;
  }
};

}  // namespace

FLOWAWR_BF16_TARGET void Bf16Attention(const AttentionSize& size, const Bf16AttentionStream& first,
                                       const Bf16AttentionStream& second, int64_t begin, int64_t end,
                                       const Bf16AttentionOutput& out) {
  const HeadShape shape(size, first, second);
  const int64_t dim = shape.dim;
  const int64_t first_queries = first.q == nullptr ? 0 : first.tokens;
  GatheredHead head(shape);
  std::vector<Bf16> v_transposed(dim * shape.padded_keys);
  std::vector<uint32_t> pairs;
  std::vector<uint32_t> q_pairs(shape.query_pairs());
  std::vector<float> scores(kKeyBlock * kQueryBlock);
  std::vector<uint32_t> weights(kKeyBlock / 2 * kQueryBlock);
  std::vector<float> values(dim * kQueryBlock);
  std::vector<float> rows(kQueryBlock * dim);
  OnlineSoftmax softmax;

  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / size.heads, h = task % size.heads;
    head.Fill(size, first, second, b, h);
    Transpose(head.v.data(), shape.padded_keys, dim, pairs, v_transposed.data());
    TransposeWords(head.q.data(), shape.padded_queries, dim / 2, q_pairs.data());
    const RowFinder find{size, first_queries, shape.queries - first_queries, b, h};
    for (int64_t query = 0; query < shape.padded_queries; query += kQueryBlock) {
      const int64_t columns = std::min(kQueryBlock, shape.padded_queries - query);
      softmax.Reset();
      std::fill(values.begin(), values.end(), 0.0f);
      for (int64_t key = 0; key < shape.keys; key += kKeyBlock) {
        const int64_t keys = std::min(kKeyBlock, shape.keys - key);
        Bf16Gemm(keys, columns, dim / 2, {head.k.data() + key * dim, dim}, q_pairs.data() + query, shape.padded_queries,
                 IntoFloat{scores.data(), kQueryBlock, false});
        if (keys % 2 == 1) std::fill_n(scores.data() + keys * kQueryBlock, kQueryBlock, kNever);
        const int64_t even_keys = RoundUp(keys, 2);
        softmax.Add(scores.data(), even_keys, columns, dim, weights.data(), values.data());
        Bf16Gemm(dim, columns, even_keys / 2, {v_transposed.data() + key, shape.padded_keys}, weights.data(),
                 kQueryBlock, IntoFloat{values.data(), kQueryBlock, true});
      }
      TransposeWords(values.data(), dim, kQueryBlock, rows.data());
      const int64_t wanted = std::min(kQueryBlock, shape.queries - query);
      for (int64_t j = 0; j < wanted; ++j) {
        const __m512 inverse = _mm512_set1_ps(1.0f / softmax.sum[j]);
        Bf16* to = find(out.first, out.second, query + j);
        for (int64_t d = 0; d < dim; d += kVector)
          StoreBf16(_mm512_mul_ps(_mm512_loadu_ps(rows.data() + j * dim + d), inverse), to + d);
        if (out.log_sums != nullptr)
          out.log_sums[task * shape.queries + query + j] = softmax.highest[j] + std::log2(softmax.sum[j]);
      }
    }
  }
}

namespace {

// Weights and their gradients of one tile, in the forms that the three products after it take.
struct BackwardTile {
  float scores[kKeyBlock * kQueryBlock];
  float dweights[kKeyBlock * kQueryBlock];
  Bf16 weights[kKeyBlock * kQueryBlock];
  Bf16 dscores[kKeyBlock * kQueryBlock];
  uint32_t dscore_pairs[kKeyBlock / 2 * kQueryBlock];

  // dscores = weights * (dweights - expected), where weights = 2^(scores - log_sums).
  FLOWAWR_BF16_TARGET void Finish(int64_t keys, int64_t columns, const float* log_sums, const float* expected) {
    for (int64_t j = 0; j < columns; j += kVector) {
      const __m512 log_sum = _mm512_loadu_ps(log_sums + j);
      const __m512 mean = _mm512_loadu_ps(expected + j);
      const auto row = [&](int64_t i) FLOWAWR_BF16_TARGET {
        const int64_t at = i * kQueryBlock + j;
        const __m512 weight = Exp2(_mm512_sub_ps(_mm512_loadu_ps(scores + at), log_sum));
        StoreBf16(weight, weights + at);
        const __m512 dscore = _mm512_mul_ps(weight, _mm512_sub_ps(_mm512_loadu_ps(dweights + at), mean));
        StoreBf16(dscore, dscores + at);
        return dscore;
      };
      for (int64_t i = 0; i < keys; i += 2) {
        const __m512 even = row(i);
        const __m512 odd = i + 1 < keys ? row(i + 1) : _mm512_setzero_ps();
        StorePairs(even, odd, dscore_pairs + i / 2 * kQueryBlock + j);
      }
    }
  }
};

}  // namespace

FLOWAWR_BF16_TARGET void Bf16AttentionBackward(const AttentionSize& size, const Bf16AttentionStream& first,
                                               const Bf16AttentionStream& second, int64_t begin, int64_t end,
                                               const float* log_sums, const Bf16AttentionGradient& first_gradient,
                                               const Bf16AttentionGradient& second_gradient) {
  const HeadShape shape(size, first, second);
  const int64_t dim = shape.dim;
  const int64_t padded = shape.padded_queries;
  const int64_t first_queries = first.q == nullptr ? 0 : first.tokens;
  const float softmax_scale = 1.0f / std::sqrt(static_cast<float>(dim));
  GatheredHead head(shape);
  std::vector<Bf16> dout(shape.query_elements()), k_transposed(dim * shape.padded_keys);
  std::vector<uint32_t> pairs, q_pairs(shape.query_pairs()), q_row_pairs(padded / 2 * dim),
      dout_pairs(shape.query_pairs()), dout_row_pairs(padded / 2 * dim);
  std::vector<float> log_sum(padded), expected(padded), dq(dim * padded), dq_rows(padded * dim), dk(kKeyBlock * dim),
      dv(kKeyBlock * dim);
  const auto tile = std::make_unique<BackwardTile>();

  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / size.heads, h = task % size.heads;
    head.Fill(size, first, second, b, h);
    const RowFinder find{size, first_queries, shape.queries - first_queries, b, h};
    for (int64_t query = 0; query < shape.queries; ++query) {
      const Bf16* out_row = find(first_gradient.out, second_gradient.out, query);
      const Bf16* dout_row = find(first_gradient.dout, second_gradient.dout, query);
      __m512 sum = _mm512_setzero_ps();
      for (int64_t d = 0; d < dim; d += kVector)
        sum = _mm512_fmadd_ps(LoadBf16(out_row + d), LoadBf16(dout_row + d), sum);
      expected[query] = _mm512_reduce_add_ps(sum);
      log_sum[query] = log_sums[task * shape.queries + query];
      std::memcpy(dout.data() + query * dim, dout_row, dim * sizeof(Bf16));
    }
    Transpose(head.k.data(), shape.padded_keys, dim, pairs, k_transposed.data());
    TransposeWords(head.q.data(), padded, dim / 2, q_pairs.data());
    TransposeWords(dout.data(), padded, dim / 2, dout_pairs.data());
    PairRows(head.q.data(), padded, dim, q_row_pairs.data());
    PairRows(dout.data(), padded, dim, dout_row_pairs.data());
    std::fill(dq.begin(), dq.end(), 0.0f);

    for (int64_t key = 0; key < shape.keys; key += kKeyBlock) {
      const int64_t keys = std::min(kKeyBlock, shape.keys - key);
      const int64_t even_keys = RoundUp(keys, 2);
      std::fill(dk.begin(), dk.end(), 0.0f);
      std::fill(dv.begin(), dv.end(), 0.0f);
      for (int64_t query = 0; query < padded; query += kQueryBlock) {
        const int64_t columns = std::min(kQueryBlock, padded - query);
        Bf16Gemm(keys, columns, dim / 2, {head.k.data() + key * dim, dim}, q_pairs.data() + query, padded,
                 IntoFloat{tile->scores, kQueryBlock, false});
        Bf16Gemm(keys, columns, dim / 2, {head.v.data() + key * dim, dim}, dout_pairs.data() + query, padded,
                 IntoFloat{tile->dweights, kQueryBlock, false});
        tile->Finish(keys, columns, log_sum.data() + query, expected.data() + query);
        Bf16Gemm(keys, dim, columns / 2, {tile->weights, kQueryBlock}, dout_row_pairs.data() + query / 2 * dim, dim,
                 IntoFloat{dv.data(), dim, true});
        Bf16Gemm(keys, dim, columns / 2, {tile->dscores, kQueryBlock}, q_row_pairs.data() + query / 2 * dim, dim,
                 IntoFloat{dk.data(), dim, true});
        Bf16Gemm(dim, columns, even_keys / 2, {k_transposed.data() + key, shape.padded_keys}, tile->dscore_pairs,
                 kQueryBlock, IntoFloat{dq.data() + query, padded, true});
      }
      for (int64_t i = 0; i < keys; ++i) {
        const bool is_first = key + i < first.tokens;
        const Bf16AttentionStream& stream = is_first ? first : second;
        const Bf16AttentionGradient& gradient = is_first ? first_gradient : second_gradient;
        const int64_t t = is_first ? key + i : key + i - first.tokens;
        const int64_t at = b * stream.batch_stride + t * stream.row_stride + h * dim;
        NormaliseRowBackward(stream.k + at, stream.k_norm, dim, size.norm_epsilon, kLn2, dk.data() + i * dim,
                             gradient.dk + at);
        for (int64_t d = 0; d < dim; d += kVector)
          StoreBf16(_mm512_loadu_ps(dv.data() + i * dim + d), gradient.dv + at + d);
      }
    }

    TransposeWords(dq.data(), dim, padded, dq_rows.data());
    for (int64_t query = 0; query < shape.queries; ++query) {
      const bool is_first = query < first_queries;
      const Bf16AttentionStream& stream = is_first ? first : second;
      const Bf16AttentionGradient& gradient = is_first ? first_gradient : second_gradient;
      const int64_t t = is_first ? query : query - first_queries;
      const int64_t at = b * stream.batch_stride + t * stream.row_stride + h * dim;
      NormaliseRowBackward(stream.q + at, stream.q_norm, dim, size.norm_epsilon, softmax_scale,
                           dq_rows.data() + query * dim, gradient.dq + at);
    }
  }
}

#else  // no such instructions on this architecture

void Bf16Attention(const AttentionSize&, const Bf16AttentionStream&, const Bf16AttentionStream&, int64_t, int64_t,
                   const Bf16AttentionOutput&) {
  std::abort();
}

void Bf16AttentionBackward(const AttentionSize&, const Bf16AttentionStream&, const Bf16AttentionStream&, int64_t,
                           int64_t, const float*, const Bf16AttentionGradient&, const Bf16AttentionGradient&) {
  std::abort();
}

#endif

}  // namespace flowawr::kernels
