// C = A B where B fits in the second-level cache: register tiles straight from row-major memory, without the packing of
// both matrices that a BLAS call begins with. Every element of C is summed in the order of k, wherever its row stands.
// For kernel sources only, as simd-inl.h.
#if defined(FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#undef FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#else
#define FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#endif

#include "common/nn/linear_kernels.h"
#include "common/nn/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {

// The sums of a tile, one row of B and one element of A fill the registers: 6 x 4 + 4 + 1 of 32, 6 x 2 + 2 + 1 of 16.
// Twelve sums are also what keeps two multipliers busy whose results take four or five cycles.
inline constexpr int kTileRows = 6;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
inline constexpr int kTileVectors = 4;
#else
inline constexpr int kTileVectors = 2;
#endif

// Element (i, j) of A is at a[i * row + j * column]: a transpose costs nothing.
struct Strided {
  HWY_INLINE Strided From(int64_t i) const { return {a + i * row, row, column}; }

  const float* a;
  int64_t row;
  int64_t column;
};

template <int kRows, int kVectors>
HWY_INLINE void GemmTile(int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias, float* c,
                         int64_t c_row) {
  V sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = bias == nullptr ? Zero() : Load(bias + v * kLanes);
  }
  for (int64_t k = 0; k < inner; ++k) {
    V right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = Load(b + k * b_row + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const V left = Set(a.a[r * a.row + k * a.column]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) Store(sum[r][v], c + r * c_row + v * kLanes);
  }
}

template <int kVectors>
HWY_INLINE void GemmColumns(int64_t rows, int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias,
                            float* c, int64_t c_row) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows)
    GemmTile<kTileRows, kVectors>(inner, a.From(r), b, b_row, bias, c + r * c_row, c_row);
  if (r + 4 <= rows) {
    GemmTile<4, kVectors>(inner, a.From(r), b, b_row, bias, c + r * c_row, c_row);
    r += 4;
  }
  if (r + 2 <= rows) {
    GemmTile<2, kVectors>(inner, a.From(r), b, b_row, bias, c + r * c_row, c_row);
    r += 2;
  }
  if (r < rows) GemmTile<1, kVectors>(inner, a.From(r), b, b_row, bias, c + r * c_row, c_row);
}

// C [rows, columns] = A [rows, inner] B [inner, columns] + bias [columns] (null: none); `columns` is a multiple of
// kColumnMultiple, B and C are row-major.
HWY_INLINE void SmallGemm(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row,
                          float* c, int64_t c_row, const float* bias = nullptr) {
  constexpr int64_t kTileColumns = kTileVectors * kLanes;
  int64_t j = 0;
  const auto bias_at = [&] { return bias == nullptr ? nullptr : bias + j; };
  for (; j + kTileColumns <= columns; j += kTileColumns)
    GemmColumns<kTileVectors>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
  if constexpr (kTileColumns > kColumnMultiple) {  // then the last tile of a row may be narrower
    if (j + 2 * kLanes <= columns) {
      GemmColumns<2>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
      j += 2 * kLanes;
    }
    if (j < columns) GemmColumns<1>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
  }
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
