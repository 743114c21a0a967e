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

// Where scorers compute: `auto` becomes the machine's last accelerator, as learner and actors take the first ones first.
absl::StatusOr<std::string> ResolveRewardDevice(const std::string& name);

}  // namespace flowawr
