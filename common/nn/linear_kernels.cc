#include "common/nn/linear_kernels.h"

#include "common/nn/small_gemm.h"

namespace flowawr::kernels {

FLOWAWR_VECTORISED void MatMul(int64_t rows, int64_t columns, int64_t inner, const float* a, const float* b,
                               const float* bias, float* c) {
  SmallGemm(rows, columns, inner, {a, inner, 1}, b, columns, c, columns, bias);
}

}  // namespace flowawr::kernels
