#include "common/nn/linear_kernels.h"

#include <vector>

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/nn/linear_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace {

// Few rows are not worth a copy of `b`, and may have a large one.
void Gemm(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, IntoC out) {
  const bool is_one_tile = columns <= kTileColumns && b_row == columns;
  if (rows < kRowBlock || is_one_tile) {
    SmallGemm(rows, columns, inner, a, b, b_row, out);
    return;
  }
  thread_local std::vector<float> tiles;
  if (tiles.size() < static_cast<size_t>(inner * columns)) tiles.resize(inner * columns);
  PackedGemm(rows, columns, inner, a, b, b_row, out, tiles.data());
}

}  // namespace

void MatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias,
            float* c, int64_t c_row) {
  Gemm(rows, columns, inner, a, b, b_row, {c, c_row, bias});
}

void AddMatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, float scale,
               float* c, int64_t c_row) {
  Gemm(rows, columns, inner, a, b, b_row, {c, c_row, nullptr, true, scale});
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(MatMul);
HWY_EXPORT(AddMatMul);

void MatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, const float* bias,
            float* c, int64_t c_row) {
  FLOWAWR_DISPATCH(MatMul)(rows, columns, inner, a, b, b_row, bias, c, c_row);
}

void AddMatMul(int64_t rows, int64_t columns, int64_t inner, Strided a, const float* b, int64_t b_row, float scale,
               float* c, int64_t c_row) {
  FLOWAWR_DISPATCH(AddMatMul)(rows, columns, inner, a, b, b_row, scale, c, c_row);
}

}  // namespace flowawr::kernels
#endif
