// C = A B where B fits in the second-level cache: register tiles, without the copies of both matrices that a BLAS call
// begins with. Every element of C is summed in the order of k, wherever its row stands and whether B is copied or not.
// For kernel sources only, as simd-inl.h.
#if defined(FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#undef FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#else
#define FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
#endif

#include <type_traits>

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
inline constexpr int64_t kTileColumns = kTileVectors * kLanes;
// Rows of A that stay in the first-level cache while the tiles of B pass by.
inline constexpr int64_t kRowBlock = 4 * kTileRows;

HWY_INLINE Strided RowsFrom(Strided a, int64_t r) { return {a.data + r * a.row, a.row, a.column}; }

// What becomes of the sums of A B: C = sums + bias (null: no bias), or C += scale * sums.
struct IntoC {
  HWY_INLINE IntoC From(int64_t i, int64_t j) const {
    return {c + i * row + j, row, bias == nullptr ? bias : bias + j, adds, scale};
  }

  float* c;
  int64_t row;
  const float* bias = nullptr;
  bool adds = false;
  float scale = 1;
};

template <int kRows, int kVectors>
HWY_INLINE void GemmTile(int64_t inner, Strided a, const float* b, int64_t b_row, IntoC out) {
  V sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = out.bias == nullptr ? Zero() : Load(out.bias + v * kLanes);
  }
  for (int64_t k = 0; k < inner; ++k) {
    V right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) right[v] = Load(b + k * b_row + v * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const V left = Set(a.data[r * a.row + k * a.column]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* to = out.c + r * out.row + v * kLanes;
      Store(out.adds ? hn::MulAdd(Set(out.scale), sum[r][v], Load(to)) : sum[r][v], to);
    }
  }
}

template <int kVectors>
HWY_INLINE void GemmColumns(int64_t rows, int64_t inner, Strided a, const float* b, int64_t b_row, IntoC out) {
  int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows)
    GemmTile<kTileRows, kVectors>(inner, RowsFrom(a, r), b, b_row, out.From(r, 0));
  if (r + 4 <= rows) {
    GemmTile<4, kVectors>(inner, RowsFrom(a, r), b, b_row, out.From(r, 0));
    r += 4;
  }
  if (r + 2 <= rows) {
    GemmTile<2, kVectors>(inner, RowsFrom(a, r), b, b_row, out.From(r, 0));
    r += 2;
  }
  if (r < rows) GemmTile<1, kVectors>(inner, RowsFrom(a, r), b, b_row, out.From(r, 0));
}

// Calls visit(vectors, j) for every tile, `vectors` wide, of `columns`, a multiple of kColumnMultiple.
template <typename Visit>
HWY_INLINE void ForEachTile(int64_t columns, const Visit& visit) {
  int64_t j = 0;
  for (; j + kTileColumns <= columns; j += kTileColumns) visit(std::integral_constant<int, kTileVectors>(), j);
  if constexpr (kTileColumns > kColumnMultiple) {  // then the last tile of a row may be narrower
    if (j + 2 * kLanes <= columns) {
      visit(std::integral_constant<int, 2>(), j);
      j += 2 * kLanes;
    }
    if (j < columns) visit(std::integral_constant<int, 1>(), j);
  }
}

// A [rows, inner] times the row-major B [inner, columns], where `columns` is a multiple of kColumnMultiple.
HWY_INLINE void SmallGemm(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row,
                          IntoC out) {
  ForEachTile(columns, [&](auto vectors, int64_t j) HWY_ATTR {
    GemmColumns<vectors>(rows, inner, a, b + j, b_row, out.From(0, j));
  });
}

// The same by way of `tiles` [inner * columns], to which B is copied tile after tile: rows of a tile that are far apart
// in B share few sets of the caches. Worth the copy from kRowBlock rows on.
HWY_INLINE void PackedGemm(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row,
                           IntoC out, float* tiles) {
  ForEachTile(columns, [&](auto vectors, int64_t j) HWY_ATTR {
    float* to = tiles + j * inner;
    for (int64_t k = 0; k < inner; ++k) {
      for (int v = 0; v < vectors; ++v, to += kLanes) Store(Load(b + k * b_row + j + v * kLanes), to);
    }
  });
  for (int64_t r = 0; r < rows; r += kRowBlock) {
    const int64_t count = rows - r < kRowBlock ? rows - r : kRowBlock;
    ForEachTile(columns, [&](auto vectors, int64_t j) HWY_ATTR {
      GemmColumns<vectors>(count, inner, RowsFrom(a, r), tiles + j * inner, vectors * kLanes, out.From(r, j));
    });
  }
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FLOWAWR_COMMON_NN_SMALL_GEMM_INL_H_
