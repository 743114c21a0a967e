// The fake device's memory: where a tensor points nobody may read or write; the values lie in a second mapping behind it.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <cstdint>
#include <span>

#include "tests/testing/fake_device/fake_streams.h"

namespace flowawr::fake_device {

class FakeAllocator final : public c10::Allocator {
 public:
  // On the device that is current.
  c10::DataPtr allocate(size_t bytes) override;
  c10::DataPtr AllocateOn(size_t bytes, c10::Device device);
  c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* to, const void* from, size_t bytes) const override;
};

FakeAllocator& Memory();

// The same values as a tensor of the host, which shares them.
at::Tensor OnHost(const at::Tensor& tensor);

// Who used the allocation; null for an empty one.
Uses* UsesOf(const c10::DataPtr& data);

// What lies in an allocation, for the host to read and write.
std::span<char> BytesOf(const c10::DataPtr& data);

// Memory of the host that LibTorch takes for pinned.
c10::Allocator& PinnedMemory();
bool IsPinned(const void* address);
// The same values of pinned memory, which stays until the copy is made, whoever frees it before.
at::Tensor KeptForCopy(const at::Tensor& pinned);

// Copies the first `bytes` of one allocation into another.
void CopyAllocation(const c10::DataPtr& from, const c10::DataPtr& to, size_t bytes);

// Of the calling thread.
int CurrentDevice();
void SetCurrentDevice(int index);
inline constexpr int kDevices = 2;

// As CUDA does on a device when there is memory on it, or a thread is set to it: TakeContexts() tells.
void MakeContext(int index);

// The greatest number of bytes in use since the last call.
int64_t TakePeakBytes();

}  // namespace flowawr::fake_device
