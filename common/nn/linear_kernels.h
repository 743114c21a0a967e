// The matrix products of small frozen layers, f32 in CPU memory, one thread.
#pragma once

#include <cstdint>

namespace flowawr::kernels {

inline constexpr int64_t kColumnMultiple = 16;

// c [rows, columns] = a [rows, inner] b [inner, columns] + bias [columns] (null: none), all row-major and contiguous;
// `columns` is a multiple of kColumnMultiple. A row's result has the same bits wherever it stands and whatever is
// beside it. Meant for a `b` of up to about a megabyte; beyond that a BLAS that blocks for the caches does better.
void MatMul(int64_t rows, int64_t columns, int64_t inner, const float* a, const float* b, const float* bias, float* c);

}  // namespace flowawr::kernels
