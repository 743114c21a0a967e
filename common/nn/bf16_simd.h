// What the bfloat16 kernels share: AVX-512 with its bfloat16 dot product, which multiplies twice as fast as f32 does.
// For kernel sources only, inside `#if FLOWAWR_HAS_BF16_KERNELS`.
//
// A "paired" matrix is one that the dot product takes as its right side: two rows of it interleaved into one row of
// 32-bit pairs, so that pair (p, j) holds the elements (2p, j) and (2p + 1, j). As a left side a matrix stays
// row-major: two elements side by side are a pair.
#pragma once

#include "common/nn/bf16.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define FLOWAWR_HAS_BF16_KERNELS 1
#else
#define FLOWAWR_HAS_BF16_KERNELS 0
#endif

#if FLOWAWR_HAS_BF16_KERNELS

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define FLOWAWR_BF16_TARGET __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define FLOWAWR_BF16_INLINE \
  __attribute__((always_inline, target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))) inline

namespace flowawr::kernels {

inline constexpr int64_t kVector = 16;  // floats, or pairs

FLOWAWR_BF16_INLINE __m512 LoadBf16(const Bf16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

FLOWAWR_BF16_INLINE void StoreBf16(__m512 values, Bf16* to) {
  const __m256bh rounded = _mm512_cvtneps_pbh(values);
  std::memcpy(to, &rounded, sizeof(rounded));
}

// Sixteen pairs of two rows.
FLOWAWR_BF16_INLINE __m512i Interleaved(__m512i rows) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, rows);
}
FLOWAWR_BF16_INLINE void StorePairs(__m512 even, __m512 odd, uint32_t* to) {
  _mm512_storeu_si512(to, Interleaved((__m512i)_mm512_cvtne2ps_pbh(odd, even)));
}
FLOWAWR_BF16_INLINE void StorePairs(const Bf16* even, const Bf16* odd, uint32_t* to) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(even));
  const __m256i high =
      odd == nullptr ? _mm256_setzero_si256() : _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd));
  _mm512_storeu_si512(to, Interleaved(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)));
}

// out[j * out_row + i] = in[i * in_row + j] for 16 by 16 words.
FLOWAWR_BF16_INLINE void TransposeTile(const void* in, int64_t in_row, void* out, int64_t out_row) {
  const auto* from = static_cast<const uint32_t*>(in);
  auto* to = static_cast<uint32_t*>(out);
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * in_row);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
    a[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
    a[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
  }
  // Now a[4 i + c] holds, in its four quarters q, columns 4 q + c of rows 4 i to 4 i + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x88);
    const __m512i low23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x88);
    const __m512i high01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xdd);
    const __m512i high23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_si512(to + c * out_row, _mm512_shuffle_i32x4(low01, low23, 0x88));
    _mm512_storeu_si512(to + (8 + c) * out_row, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    _mm512_storeu_si512(to + (4 + c) * out_row, _mm512_shuffle_i32x4(high01, high23, 0x88));
    _mm512_storeu_si512(to + (12 + c) * out_row, _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
}

// 2^x to about 3e-6 relative for x <= 0; 0 where f32 has no number that small.
FLOWAWR_BF16_INLINE __m512 Exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(1.33335581e-3f);
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(6.93147181e-1f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, whole);
}

// A left side: element pair (i, p) is at data[i * row + p].
struct LeftPairs {
  LeftPairs(const Bf16* matrix, int64_t row_elements) : data(matrix), row(row_elements) {}

  FLOWAWR_BF16_INLINE __m512bh Broadcast(int64_t i, int64_t p) const {
    int32_t pair;
    std::memcpy(&pair, data + i * row + 2 * p, sizeof(pair));
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  FLOWAWR_BF16_INLINE LeftPairs From(int64_t i) const { return {data + i * row, row}; }

  const Bf16* data;
  int64_t row;  // elements
};

// Where a tile's sums go: into f32, instead of or on top of what is there.
struct IntoFloat {
  float* c;
  int64_t row;
  bool accumulates;

  FLOWAWR_BF16_INLINE __m512 Start(int64_t i, int64_t j) const {
    return accumulates ? _mm512_loadu_ps(c + i * row + j) : _mm512_setzero_ps();
  }
  FLOWAWR_BF16_INLINE void Finish(__m512 sum, int64_t i, int64_t j) const { _mm512_storeu_ps(c + i * row + j, sum); }
};

// On top of a bfloat16 matrix, rounded once.
struct OntoBf16 {
  Bf16* c;
  int64_t row;

  FLOWAWR_BF16_INLINE __m512 Start(int64_t, int64_t) const { return _mm512_setzero_ps(); }
  FLOWAWR_BF16_INLINE void Finish(__m512 sum, int64_t i, int64_t j) const {
    Bf16* at = c + i * row + j;
    StoreBf16(_mm512_add_ps(LoadBf16(at), sum), at);
  }
};

template <int kRows, int kVectors, typename Destination>
FLOWAWR_BF16_INLINE void Bf16Tile(int64_t pairs, LeftPairs a, const uint32_t* b, int64_t b_row, int64_t i, int64_t j,
                                  const Destination& destination) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = destination.Start(i + r, j + v * kVector);
  }
  for (int64_t p = 0; p < pairs; ++p) {
    __m512bh right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = (__m512bh)_mm512_loadu_si512(b + p * b_row + j + v * kVector);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512bh left = a.Broadcast(i + r, p);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, right[v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) destination.Finish(sum[r][v], i + r, j + v * kVector);
  }
}

template <int kVectors, typename Destination>
FLOWAWR_BF16_INLINE void Bf16Columns(int64_t rows, int64_t pairs, LeftPairs a, const uint32_t* b, int64_t b_row,
                                     int64_t j, const Destination& destination) {
  int64_t i = 0;
  for (; i + 6 <= rows; i += 6) Bf16Tile<6, kVectors>(pairs, a, b, b_row, i, j, destination);
  if (i + 4 <= rows) {
    Bf16Tile<4, kVectors>(pairs, a, b, b_row, i, j, destination);
    i += 4;
  }
  for (; i < rows; ++i) Bf16Tile<1, kVectors>(pairs, a, b, b_row, i, j, destination);
}

// destination [rows, columns] from a [rows, 2 * pairs] times the paired b [pairs, columns], summed in f32 in the order
// of the pairs, whatever the other sizes are; `columns` is a multiple of kVector. Meant for a `b` that stays in the
// caches.
template <typename Destination>
FLOWAWR_BF16_TARGET inline void Bf16Gemm(int64_t rows, int64_t columns, int64_t pairs, LeftPairs a, const uint32_t* b,
                                         int64_t b_row, const Destination& destination) {
  int64_t j = 0;
  for (; j + 4 * kVector <= columns; j += 4 * kVector) Bf16Columns<4>(rows, pairs, a, b, b_row, j, destination);
  if (j + 2 * kVector <= columns) {
    Bf16Columns<2>(rows, pairs, a, b, b_row, j, destination);
    j += 2 * kVector;
  }
  if (j < columns) Bf16Columns<1>(rows, pairs, a, b, b_row, j, destination);
}

}  // namespace flowawr::kernels

#endif  // FLOWAWR_HAS_BF16_KERNELS
