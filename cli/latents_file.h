// Latents in safetensors files, so that pictures can be compared with those of any other program.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

// The tensor `latents`, or the only tensor of the file: [N, C, H, W] of any float type, made f32. InvalidArgument when
// there is none such or a value is not finite.
absl::StatusOr<at::Tensor> ReadLatentsFile(const std::string& file);

// The tensors, each [C, H, W], as one tensor `latents`.
absl::Status WriteLatentsFile(const std::string& file, const std::vector<at::Tensor>& latents,
                              const std::map<std::string, std::string>& metadata);

}  // namespace flowawr
