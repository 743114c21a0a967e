// The machine's devices by the names that people write, for code without LibTorch's headers. See devices.h.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// FindDevice()'s error, or OK.
absl::Status CheckDeviceName(absl::string_view name);

// FindDevices() by name: `auto` becomes every accelerator, else cpu.
absl::StatusOr<std::vector<std::string>> ResolveDeviceNames(const std::vector<std::string>& names);

}  // namespace flowawr
