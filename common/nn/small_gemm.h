// C = A B where B fits in the second-level cache: register tiles straight from row-major memory, without the packing of
// both matrices that a BLAS call begins with. Every element of C is summed in the order of k, wherever its row stands.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/nn/vectorised.h"

namespace flowawr::kernels {

// Element (i, j) of A is at a[i * row + j * column]: a transpose costs nothing.
struct Strided {
  const float* a;
  int64_t row;
  int64_t column;
};

template <int kRows, int kVectors>
FLOWAWR_ALWAYS_INLINE void GemmTile(int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias,
                                    float* c, int64_t c_row) {
  Lanes sum[kRows][kVectors] = {};
  if (bias != nullptr) {
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) std::memcpy(&sum[r][v], bias + v * kLanes, sizeof(Lanes));
    }
  }
  for (int64_t k = 0; k < inner; ++k) {
    Lanes right[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) std::memcpy(&right[v], b + k * b_row + v * kLanes, sizeof(Lanes));
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const float left = a.a[r * a.row + k * a.column];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) std::memcpy(c + r * c_row + v * kLanes, &sum[r][v], sizeof(Lanes));
  }
}

template <int kVectors>
FLOWAWR_ALWAYS_INLINE void GemmColumns(int64_t rows, int64_t inner, Strided a, const float* b, int64_t b_row,
                                       const float* bias, float* c, int64_t c_row) {
  int64_t r = 0;
  for (; r + 6 <= rows; r += 6) {
    GemmTile<6, kVectors>(inner, {a.a + r * a.row, a.row, a.column}, b, b_row, bias, c + r * c_row, c_row);
  }
  for (; r + 2 <= rows; r += 2) {
    GemmTile<2, kVectors>(inner, {a.a + r * a.row, a.row, a.column}, b, b_row, bias, c + r * c_row, c_row);
  }
  if (r < rows) GemmTile<1, kVectors>(inner, {a.a + r * a.row, a.row, a.column}, b, b_row, bias, c + r * c_row, c_row);
}

// C [rows, columns] = A [rows, inner] B [inner, columns] + bias [columns] (null: none); `columns` is a multiple of
// kLanes, B and C are row-major.
FLOWAWR_ALWAYS_INLINE void SmallGemm(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b,
                                     int64_t b_row, float* c, int64_t c_row, const float* bias = nullptr) {
  int64_t j = 0;
  const auto bias_at = [&] { return bias == nullptr ? nullptr : bias + j; };
  for (; j + 4 * kLanes <= columns; j += 4 * kLanes) {
    GemmColumns<4>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
  }
  if (j + 2 * kLanes <= columns) {
    GemmColumns<2>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
    j += 2 * kLanes;
  }
  if (j < columns) GemmColumns<1>(rows, inner, a, b + j, b_row, bias_at(), c + j, c_row);
}

}  // namespace flowawr::kernels
