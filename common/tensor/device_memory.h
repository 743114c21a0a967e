// How much of the accelerators' memory this process uses, for code without LibTorch's headers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace flowawr {

// Bytes.
struct DeviceMemory {
  int64_t allocated = 0;  // by tensors
  int64_t reserved = 0;   // taken from the device: allocated, or free to be allocated again
  int64_t peak = 0;       // of `allocated`, since the process began
};

// By device name, of those from which this process has taken any. Never fails and never throws; thread-safe.
std::map<std::string, DeviceMemory> MemoryByDevice();

// What is reserved and not allocated goes back to the accelerators, where other processes may take it. Slow: waits for
// their work. Never fails and never throws; thread-safe.
void GiveBackFreedDeviceMemory();

// "61.2 GB allocated, 70.1 GB reserved, at most 75.0 GB allocated"; nullopt: "".
std::string DescribeMemory(const std::optional<DeviceMemory>& memory);

}  // namespace flowawr
