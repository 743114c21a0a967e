// How much memory this machine, or the container that this process is in, has.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

// The smaller of physical memory and the control group's limit; 0: unknown.
int64_t MachineMemory();

// "24GiB", "24 GB", "512MiB". UsageError() names `option`.
absl::StatusOr<int64_t> ParseMemory(const std::string& text, const std::string& option = "--memory");

// "12.3 GB" (10^9), or MB below one.
std::string FormatMemory(int64_t bytes);

}  // namespace flowawr
