// GroupNorm followed by SiLU, as convolutional networks have it before every convolution.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace flowawr {

// silu(group_norm(x)) of x [B, C, H, W]; `weight` and `bias` are [C]. Without gradients. Takes x over: where nothing
// else holds it, it is overwritten.
//
// With the channels last, in f32 or bfloat16, that is two passes over x by own kernels, rounded once, on CPU and on
// devices that have them (device_dispatch.h); elsewhere LibTorch's operations. The result of a sample does not depend
// on its batch or on the number of threads.
at::Tensor GroupNormSilu(at::Tensor x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                         double epsilon);

}  // namespace flowawr
