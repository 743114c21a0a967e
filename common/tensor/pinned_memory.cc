#include "common/tensor/pinned_memory.h"

#include <ATen/ops/empty.h>
#include <c10/core/Allocator.h>

#include <atomic>
#include <exception>

namespace flowawr {
namespace {

// LibTorch's, the same for all pinned memory of a process.
std::atomic<c10::DeleterFnPtr> free_pinned = nullptr;

void FreeUnlessTheDeviceFailed(void* context) {
  try {
    free_pinned.load()(context);
  } catch (const std::exception&) {  // whoever waits for the device is told
  }
}

}  // namespace

at::Tensor EmptyPinned(at::IntArrayRef sizes, at::ScalarType dtype) {
  at::Tensor pinned = at::empty(sizes, at::TensorOptions(dtype).pinned_memory(true));
  c10::DataPtr& memory = pinned.storage().mutable_data_ptr();
  const c10::DeleterFnPtr own = memory.get_deleter();
  if (memory.get_context() == nullptr) return pinned;  // of no bytes
  free_pinned = own;
  TORCH_INTERNAL_ASSERT(memory.compare_exchange_deleter(own, &FreeUnlessTheDeviceFailed));
  return pinned;
}

}  // namespace flowawr
