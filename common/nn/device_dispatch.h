// Finds the kernels of the device that a tensor is on (device_kernels.h), and starts them on its current stream.
//
// Those of CUDA devices are in libflowawr_cuda.so, an optional library beside the program's own (FLOWAWR_CUDA in
// CMake). It is opened when the first tensor on such a device is met; what was found, or why LibTorch's operations are
// used instead, is logged once a device. FLOWAWR_CUDA_KERNELS=off in the environment leaves it alone. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/nn/device_kernels.h"

namespace flowawr {

// For x, which may be anywhere: null where LibTorch's operations are to be used, as for any type but f32 and bfloat16.
const DeviceKernels* DeviceKernelsFor(const at::Tensor& x);

// The type of x, which DeviceKernelsFor() accepted.
DeviceElement DeviceElementOf(const at::Tensor& x);

// Has `start` start a kernel on the current stream of `device`. Throws c10::AcceleratorError when it returns an error.
void StartOnStream(const DeviceKernels& kernels, at::Device device, absl::FunctionRef<int32_t(void* stream)> start);

// One kernel of the table, e.g. &DeviceKernels::gelu_tanh.
template <typename Call>
void StartKernel(const DeviceKernels& kernels, at::Device device,
                 int32_t (*DeviceKernels::*kernel)(const Call& call, void* stream), const Call& call) {
  StartOnStream(kernels, device, [&](void* stream) { return (kernels.*kernel)(call, stream); });
}

// InvalidArgument when FLOWAWR_CUDA_KERNELS is neither "on" nor "off", and FailedPrecondition when it is off.
absl::Status CheckCudaKernelsChoice();

// The kernels for a CUDA device. The errors of CheckCudaKernelsChoice() and LoadDeviceKernels(); FailedPrecondition,
// too, when they do not run on this card or with this driver.
absl::StatusOr<const DeviceKernels*> FindCudaKernels(at::Device device);

// What the library exports. NotFound when it cannot be opened, FailedPrecondition when it is of another build.
absl::StatusOr<const DeviceKernels*> LoadDeviceKernels(const std::string& library = "libflowawr_cuda.so");

// Gives devices of a type a table, from then on and before any library; null: none. For tests.
void UseDeviceKernels(at::DeviceType type, const DeviceKernels* kernels);

}  // namespace flowawr
