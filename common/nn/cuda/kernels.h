// The functions of the table DeviceKernels (device_kernels.h), as libflowawr_cuda.so defines them.
#pragma once

#include <cstdint>

#include "common/nn/device_kernels.h"

namespace flowawr::cuda {

int32_t LayerNormModulate(const LayerNormModulateCall& call, void* stream);
int32_t LayerNormModulateBackward(const LayerNormModulateBackwardCall& call, void* stream);
int32_t GatedResidual(const GatedResidualCall& call, void* stream);
int32_t GeluTanh(const GeluTanhCall& call, void* stream);
int32_t GeluTanhBackward(const GeluTanhBackwardCall& call, void* stream);
int32_t JoinHeads(const JoinHeadsCall& call, void* stream);
int32_t JoinHeadsBackward(const JoinHeadsBackwardCall& call, void* stream);
int32_t GroupNormSilu(const GroupNormSiluCall& call, void* stream);

// Whether the current device can run them.
int32_t Check();

}  // namespace flowawr::cuda
