// FLOWAWR_TEST_DEVICE: a device that tests compute on instead of their own choice, e.g. cuda:0. scripts/gpu-check sets it.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <optional>

#include "absl/status/status.h"
#include "common/tensor/determinism.h"
#include "common/tensor/devices.h"
#include "common/tensor/placement.h"

namespace flowawr {

// nullopt when the variable is not set; ends the test executable when it names a device that is not there.
inline std::optional<at::Device> NamedTestDevice() {
  static const std::optional<at::Device> device = []() -> std::optional<at::Device> {
    const char* name = std::getenv("FLOWAWR_TEST_DEVICE");
    if (name == nullptr) return std::nullopt;
    const at::Device device = FindDevice(name).value();
    if (!device.is_cuda()) return device;
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
    const absl::Status chosen = ChooseKernels(/*deterministic=*/true, device);  // the service's own default
    TORCH_CHECK(chosen.ok(), chosen.ToString());
    return device;
  }();
  return device;
}

// Where tests place a model that they hold against the published class: there, else on the CPU.
inline Placement TestPlacement(at::ScalarType dtype) { return {dtype, NamedTestDevice().value_or(at::kCPU)}; }

}  // namespace flowawr
