#include "tests/testing/fake_device/fake_memory.h"

#include <ATen/Functions.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/fake_device/fake_failure.h"
#include "tests/testing/fake_device/fake_limit.h"

namespace flowawr::fake_device {
namespace {

constexpr size_t kPage = 4096;

// [forbidden half][real half]; tensors point to the first.
struct Block {
  char* base;
  size_t half;
  Uses uses;

  char* real() const { return base + half; }
};

std::atomic<int64_t> bytes_in_use = 0, peak_bytes = 0;
thread_local int current_device = 0;

std::mutex contexts_mutex;
std::set<int> contexts;  // under the mutex

std::mutex blocks_mutex;
std::map<const char*, size_t> halves;  // of all blocks by their base, under the mutex

void Free(void* context) {
  auto* block = static_cast<Block*>(context);
  if (!HasFailed() && !MayFree(block->uses)) {  // nobody could catch it here
    std::fputs("fake device: memory was freed while another stream may still be using it\n", stderr);
    std::abort();
  }
  bytes_in_use -= static_cast<int64_t>(block->half);
  {
    const std::lock_guard lock(blocks_mutex);
    halves.erase(block->base);
  }
  munmap(block->base, 2 * block->half);
  delete block;
}

void FreeNothing(void*) {}

Block& BlockOf(const c10::DataPtr& data) { return *static_cast<Block*>(data.get_context()); }

// Memory that copies may go to and come from without waiting.
class PinnedAllocator final : public c10::Allocator {
 public:
  struct Pinned {
    c10::DataPtr data;
    size_t bytes;
    std::atomic<bool> is_used = false;  // by a copy that did not wait
  };

  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr data = c10::GetAllocator(c10::kCPU)->allocate(bytes);
    if (bytes == 0) return data;
    void* const begin = data.get();
    const auto pinned = std::make_shared<Pinned>(std::move(data), bytes);
    const std::lock_guard lock(mutex_);
    if (has_events_) MakeContext(CurrentDevice());  // they are asked
    pinned_[begin] = pinned;
    return {begin, pinned.get(), &Unpin, c10::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }

  // Null when the address is of other memory.
  std::shared_ptr<Pinned> Find(const void* address) {
    const std::lock_guard lock(mutex_);
    const auto after = pinned_.upper_bound(address);
    if (after == pinned_.begin()) return nullptr;
    const auto& [begin, pinned] = *std::prev(after);
    return static_cast<const char*>(address) < static_cast<const char*>(begin) + pinned->bytes ? pinned : nullptr;
  }

 private:
  static void Unpin(void* context);

  std::mutex mutex_;
  std::map<const void*, std::shared_ptr<Pinned>> pinned_;  // by where it begins
  bool has_events_ = false;                                // of memory that was freed
};

PinnedAllocator& ThePinned() {
  static auto& allocator = *new PinnedAllocator;  // for ever, as LibTorch keeps it
  return allocator;
}

void PinnedAllocator::Unpin(void* context) {
  const auto* pinned = static_cast<Pinned*>(context);
  if (pinned->is_used) CheckNotFailed();  // the streams that used it are asked for an event each
  const std::lock_guard lock(ThePinned().mutex_);
  ThePinned().has_events_ |= pinned->is_used;
  ThePinned().pinned_.erase(pinned->data.get());
}

}  // namespace

c10::DataPtr FakeAllocator::allocate(size_t bytes) {
  return AllocateOn(bytes, {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(current_device)});
}

c10::DataPtr FakeAllocator::AllocateOn(size_t bytes, c10::Device device) {
  if (bytes == 0) return {nullptr, nullptr, &FreeNothing, device};
  MakeContext(device.index());
  const size_t half = (bytes + kPage - 1) / kPage * kPage;
  CheckWithinLimit(bytes_in_use + static_cast<int64_t>(half));
  void* base = mmap(nullptr, 2 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(base != MAP_FAILED, "fake device: no memory for ", bytes, " bytes");
  auto* block = new Block{static_cast<char*>(base), half, {.home = {device.index(), CurrentStream(device.index())}}};
  TORCH_CHECK(mprotect(block->real(), half, PROT_READ | PROT_WRITE) == 0, "fake device: mprotect failed");
  {
    const std::lock_guard lock(blocks_mutex);
    halves[block->base] = half;
  }
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

Uses* UsesOf(const c10::DataPtr& data) { return data.get_context() == nullptr ? nullptr : &BlockOf(data).uses; }

std::span<char> BytesOf(const c10::DataPtr& data) {
  if (data.get_context() == nullptr) return {};
  return {BlockOf(data).real(), BlockOf(data).half};
}

c10::Allocator& PinnedMemory() { return ThePinned(); }
bool IsPinned(const void* address) { return ThePinned().Find(address) != nullptr; }

at::Tensor KeptForCopy(const at::Tensor& pinned) {
  void* const data = const_cast<void*>(pinned.const_data_ptr());
  const auto memory = ThePinned().Find(data);
  memory->is_used = true;
  return at::from_blob(data, pinned.sizes(), pinned.strides(), [memory](void*) {}, pinned.options().pinned_memory(false));
}

const void* HostAddress(const void* address) {
  if (address == nullptr) return nullptr;
  const auto* at = static_cast<const char*>(address);
  const std::lock_guard lock(blocks_mutex);
  const auto after = halves.upper_bound(at);
  TORCH_CHECK(after != halves.begin(), "fake device: ", address, " is none of its addresses");
  const auto& [base, half] = *std::prev(after);
  TORCH_CHECK(at < base + half, "fake device: ", address, " is none of its addresses");
  return at + half;
}

void CopyAllocation(const c10::DataPtr& from, const c10::DataPtr& to, size_t bytes) {
  if (bytes > 0) std::memcpy(BlockOf(to).real(), BlockOf(from).real(), bytes);
}

int CurrentDevice() { return current_device; }
void SetCurrentDevice(int index) { current_device = index; }

void MakeContext(int index) {
  const std::lock_guard lock(contexts_mutex);
  contexts.insert(index);
}

std::set<int> TakeContexts() {
  const std::lock_guard lock(contexts_mutex);
  return std::exchange(contexts, {});
}

int64_t TakePeakBytes() { return peak_bytes.exchange(bytes_in_use); }

}  // namespace flowawr::fake_device
