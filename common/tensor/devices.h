// The devices that this machine has, by the names that people write.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// The machine's accelerators, in LibTorch's order; none: an empty list. Never fails.
std::vector<at::Device> Accelerators();

// `auto`: the machine's first accelerator, else the CPU. `cpu`, `cuda` (the first), `cuda:1`, or another name that
// LibTorch knows of. InvalidArgument, which says what there is and what would help, for anything that is not there; the
// message begins with the name, not with where it was written.
absl::StatusOr<at::Device> FindDevice(absl::string_view name);

// All of `names` in order; `auto` stands for every accelerator, else the CPU. The same errors.
absl::StatusOr<std::vector<at::Device>> FindDevices(const std::vector<std::string>& names);

// As FindDevice() reads it: cpu, cuda:0.
std::string NameOf(at::Device device);

}  // namespace flowawr
