// A device whose memory is small.
#pragma once

#include <cstdint>

namespace flowawr::fake_device {

// While one lives, memory that would make more than `bytes` in use on both devices together is refused as CUDA's
// allocator refuses it: c10::OutOfMemoryError, after which the device goes on.
class MemoryLimit {
 public:
  explicit MemoryLimit(int64_t bytes);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
};

// For the device itself: `bytes` would be in use then. Thread-safe.
void CheckWithinLimit(int64_t bytes);

}  // namespace flowawr::fake_device
