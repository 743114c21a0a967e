// Where a model computes, and in which numbers: one value, handed down from the configuration to every weight.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "absl/strings/string_view.h"

namespace flowawr {

struct Placement {
  // Of weights and activations: at::kFloat or at::kBFloat16. A dtype alone is a placement on the CPU.
  Placement(at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU) : dtype(dtype), device(device) {}

  at::ScalarType dtype;
  at::Device device;
};

// By the names of configurations, flags and files: float32, bfloat16.
inline at::ScalarType DTypeNamed(absl::string_view name) { return name == "bfloat16" ? at::kBFloat16 : at::kFloat; }
inline const char* NameOf(at::ScalarType dtype) { return dtype == at::kBFloat16 ? "bfloat16" : "float32"; }

}  // namespace flowawr
