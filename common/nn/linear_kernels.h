// The matrix products of small frozen layers and their adapters, f32 in CPU memory, one thread.
//
// A row's result has the same bits wherever it stands and whatever is beside it. Meant for a `b` of up to about a
// megabyte; beyond that a BLAS that blocks for the caches does better. Safe to call from several threads.
#pragma once

#include <cstdint>

namespace flowawr::kernels {

inline constexpr int64_t kColumnMultiple = 16;

// Element (i, j) is data[i * row + j * column]: a transpose costs nothing.
struct Strided {
  const float* data;
  int64_t row;
  int64_t column = 1;
};

// c [rows, columns] = a [rows, inner] b [inner, columns] + bias [columns] (null: none). The rows of b and c are b_row and
// c_row elements apart; `columns` is a multiple of kColumnMultiple.
void MatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias,
            float* c, int64_t c_row);

// c += scale * a b, the same otherwise.
void AddMatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, float scale,
               float* c, int64_t c_row);

}  // namespace flowawr::kernels
