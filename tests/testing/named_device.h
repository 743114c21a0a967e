// FLOWAWR_TEST_DEVICE: a device that tests compute on instead of their own choice, e.g. cuda:0. scripts/gpu-check sets it.
#pragma once

#include <ATen/Context.h>
#include <c10/core/Device.h>

#include <cstdlib>
#include <optional>

#include "common/tensor/devices.h"
#include "common/tensor/placement.h"

namespace flowawr {

// nullopt when the variable is not set; ends the test executable when it names a device that is not there.
inline std::optional<at::Device> NamedTestDevice() {
  static const std::optional<at::Device> device = []() -> std::optional<at::Device> {
    const char* name = std::getenv("FLOWAWR_TEST_DEVICE");
    if (name == nullptr) return std::nullopt;
    at::globalContext().setAllowTF32CuDNN(false);  // LibTorch's default rounds operands of f32 convolutions to 10 bits
    return FindDevice(name).value();
  }();
  return device;
}

// Where tests place a model that they hold against the published class: there, else on the CPU.
inline Placement TestPlacement(at::ScalarType dtype) { return {dtype, NamedTestDevice().value_or(at::kCPU)}; }

}  // namespace flowawr
