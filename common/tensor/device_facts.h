// What is known of a device beside its name: which card it is, and its memory. Never fails and never throws; thread-safe.
#pragma once

#include <c10/core/Device.h>

#include <optional>
#include <string>

#include "common/tensor/device_memory.h"

namespace flowawr {

// "cpu", or with the card where the driver names it: "cuda:0 (NVIDIA H100 80GB HBM3)".
std::string DescribeDevice(at::Device device);

// Of this process. nullopt: the CPU, or a device whose allocator counts nothing.
std::optional<DeviceMemory> MemoryOf(at::Device device);

}  // namespace flowawr
