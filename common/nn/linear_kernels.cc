#include "common/nn/linear_kernels.h"

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/nn/linear_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {

void MatMul(int64_t rows, int64_t columns, int64_t inner, const float* a, const float* b, const float* bias, float* c) {
  SmallGemm(rows, columns, inner, {a, inner, 1}, b, columns, c, columns, bias);
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(MatMul);

void MatMul(int64_t rows, int64_t columns, int64_t inner, const float* a, const float* b, const float* bias, float* c) {
  FLOWAWR_DISPATCH(MatMul)(rows, columns, inner, a, b, bias, c);
}

}  // namespace flowawr::kernels
#endif
