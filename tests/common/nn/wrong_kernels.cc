// A library of device kernels as another build of the programs would have it.
#include "common/nn/device_kernels.h"

extern "C" const flowawr::DeviceKernels* FlowawrDeviceKernels() {
  static constexpr flowawr::DeviceKernels kOther = {.abi = flowawr::kDeviceKernelsAbi + 1};
  return &kOther;
}
