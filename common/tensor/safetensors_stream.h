// Writes safetensors files that are larger than what one wants in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

struct TensorForm {
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;

  int64_t bytes() const;
};

// The same bytes as WriteSafetensors() of the same tensors, of which one at a time is in memory: `make` is called once
// for each name and gives the tensor, of the form that was announced. The file appears whole or not at all.
absl::Status StreamSafetensors(const std::string& path, const std::map<std::string, TensorForm>& forms,
                               absl::FunctionRef<absl::StatusOr<at::Tensor>(const std::string& name)> make,
                               const std::map<std::string, std::string>& metadata = {});

}  // namespace flowawr
