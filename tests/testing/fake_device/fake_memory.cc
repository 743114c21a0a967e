#include "tests/testing/fake_device/fake_memory.h"

#include <ATen/Functions.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace flowawr::fake_device {
namespace {

constexpr size_t kPage = 4096;

// [forbidden half][real half]; tensors point to the first.
struct Block {
  char* base;
  size_t half;

  char* real() const { return base + half; }
};

std::atomic<int64_t> bytes_in_use = 0, peak_bytes = 0;
thread_local int current_device = 0;

void Free(void* context) {
  auto* block = static_cast<Block*>(context);
  bytes_in_use -= static_cast<int64_t>(block->half);
  munmap(block->base, 2 * block->half);
  delete block;
}

void FreeNothing(void*) {}

const Block& BlockOf(const c10::DataPtr& data) { return *static_cast<const Block*>(data.get_context()); }

}  // namespace

c10::DataPtr FakeAllocator::allocate(size_t bytes) {
  return AllocateOn(bytes, {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(current_device)});
}

c10::DataPtr FakeAllocator::AllocateOn(size_t bytes, c10::Device device) {
  if (bytes == 0) return {nullptr, nullptr, &FreeNothing, device};
  const size_t half = (bytes + kPage - 1) / kPage * kPage;
  void* base = mmap(nullptr, 2 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(base != MAP_FAILED, "fake device: no memory for ", bytes, " bytes");
  auto* block = new Block{static_cast<char*>(base), half};
  TORCH_CHECK(mprotect(block->real(), half, PROT_READ | PROT_WRITE) == 0, "fake device: mprotect failed");
  const int64_t now = bytes_in_use += static_cast<int64_t>(half);
  int64_t seen = peak_bytes;
  while (now > seen && !peak_bytes.compare_exchange_weak(seen, now)) {
  }
  return {block->base, block, &Free, device};
}

c10::DeleterFnPtr FakeAllocator::raw_deleter() const { return nullptr; }  // an address alone does not say its size

void FakeAllocator::copy_data(void*, const void*, size_t) const { TORCH_CHECK(false, "fake device: copy by address"); }

FakeAllocator& Memory() {
  static FakeAllocator allocator;
  return allocator;
}

at::Tensor OnHost(const at::Tensor& tensor) {
  const at::TensorOptions options = tensor.options().device(at::kCPU);
  const c10::DataPtr& data = tensor.storage().data_ptr();
  if (data.get_context() == nullptr) return at::empty_strided(tensor.sizes(), tensor.strides(), options);
  char* first = BlockOf(data).real() + tensor.storage_offset() * static_cast<int64_t>(tensor.itemsize());
  return at::from_blob(first, tensor.sizes(), tensor.strides(), options);
}

void CopyAllocation(const c10::DataPtr& from, const c10::DataPtr& to, size_t bytes) {
  if (bytes > 0) std::memcpy(BlockOf(to).real(), BlockOf(from).real(), bytes);
}

int CurrentDevice() { return current_device; }
void SetCurrentDevice(int index) { current_device = index; }

int64_t TakePeakBytes() { return peak_bytes.exchange(bytes_in_use); }

}  // namespace flowawr::fake_device
