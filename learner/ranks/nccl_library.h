// What libflowawr_nccl.so has for the program. Plain functions that do not throw; texts go into the caller's memory.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <cstddef>

#include "learner/ranks/device_line.h"

namespace c10d {
class Store;
}

namespace flowawr {

// Of CUDA's device `index`: the name that no other device has. False: why it cannot be used.
using NcclDeviceFunction = bool(int index, char* text, size_t size);
// As MakeNcclLine(). Null: why not.
using NcclLineFunction = DeviceLine*(const c10::intrusive_ptr<c10d::Store>& store, int number, int index, char* text,
                                     size_t size);

inline constexpr char kNcclDeviceName[] = "flowawr_nccl_device_v1";
inline constexpr char kNcclLineName[] = "flowawr_nccl_line_v1";

}  // namespace flowawr
