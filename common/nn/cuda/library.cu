// What libflowawr_cuda.so exports: the table of its kernels.
#include "common/nn/cuda/kernels.h"

namespace flowawr::cuda {
namespace {

// FLOWAWR_CUDA_BUILT_FOR: "CUDA 13.0: sm_80, sm_89", by CMakeLists.txt.
constexpr DeviceKernels kTable = {
    .abi = kDeviceKernelsAbi,
    .built_for = FLOWAWR_CUDA_BUILT_FOR,
    .check = Check,
    .describe = [](int32_t error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); },
    .layer_norm_modulate = LayerNormModulate,
    .layer_norm_modulate_backward = LayerNormModulateBackward,
    .gated_residual = GatedResidual,
    .gelu_tanh = GeluTanh,
    .gelu_tanh_backward = GeluTanhBackward,
    .join_heads = JoinHeads,
    .join_heads_backward = JoinHeadsBackward,
    .group_norm_silu = GroupNormSilu,
};

}  // namespace
}  // namespace flowawr::cuda

extern "C" __attribute__((visibility("default"))) const flowawr::DeviceKernels* FlowawrDeviceKernels() {
  return &flowawr::cuda::kTable;
}
