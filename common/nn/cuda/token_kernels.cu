// A warp a row for what is computed over rows of activations, a thread a pack for GELU.
#include "common/nn/cuda/gelu.h"
#include "common/nn/cuda/kernels.h"
#include "common/nn/cuda/team.cuh"
#include "common/nn/cuda/token_rows.h"

namespace flowawr::cuda {
namespace {

constexpr int kWarp = 32;

template <int kWidth, typename T, typename Call>
__global__ void __launch_bounds__(kThreads) RowsKernel(const Call call, int64_t rows) {
  constexpr int kTeams = kThreads / kWarp;
  const WarpTeam<kWarp> team;
  for (int64_t row = int64_t{blockIdx.x} * kTeams + threadIdx.x / kWarp; row < rows; row += int64_t{gridDim.x} * kTeams)
    ComputeRow<kWidth, T>(team, call, row);
}

template <int kWidth, typename T, typename Call>
__global__ void __launch_bounds__(kThreads) GeluKernel(const Call call) {
  const int64_t units = GeluUnits<kWidth>(call);
  for (int64_t unit = int64_t{blockIdx.x} * kThreads + threadIdx.x; unit < units; unit += int64_t{gridDim.x} * kThreads)
    ComputeUnit<kWidth, T>(call, unit);
}

template <typename Call>
int32_t StartRows(const Call& call, void* stream) {
  const int64_t rows = call.size.batch * call.size.tokens;
  if (rows == 0 || call.size.dim == 0) return cudaSuccess;
  return ForElement(
      call.element, FitsPacks(call), [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
        RowsKernel<kWidth, T>
            <<<BlocksFor(rows, kThreads / kWarp), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(call, rows);
        return cudaGetLastError();
      });
}

template <typename Call>
int32_t StartGelu(const Call& call, void* stream) {
  if (call.count == 0) return cudaSuccess;
  return ForElement(
      call.element, FitsPacks(call), [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
        const int64_t units = call.count / kWidth + call.count % kWidth;
        GeluKernel<kWidth, T><<<BlocksFor(units, kThreads), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(call);
        return cudaGetLastError();
      });
}

}  // namespace

int32_t LayerNormModulate(const LayerNormModulateCall& call, void* stream) { return StartRows(call, stream); }
int32_t LayerNormModulateBackward(const LayerNormModulateBackwardCall& call, void* stream) {
  return StartRows(call, stream);
}
int32_t GatedResidual(const GatedResidualCall& call, void* stream) { return StartRows(call, stream); }
int32_t GeluTanh(const GeluTanhCall& call, void* stream) { return StartGelu(call, stream); }
int32_t GeluTanhBackward(const GeluTanhBackwardCall& call, void* stream) { return StartGelu(call, stream); }

int32_t Check() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, GeluKernel<1, float, GeluTanhCall>);
}

}  // namespace flowawr::cuda
