#include "common/tensor/out_of_memory.h"

#include "absl/strings/match.h"

namespace flowawr {
namespace {

constexpr int kMemoryAllocation = 2;  // cudaErrorMemoryAllocation

}  // namespace

bool SaysOutOfMemory(const c10::Error& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  if (const auto* of_device = dynamic_cast<const c10::AcceleratorError*>(&error); of_device != nullptr)
    return of_device->get_error_code() == kMemoryAllocation;
  const char* const message = error.what_without_backtrace();
  return absl::StrContains(message, "CUBLAS_STATUS_ALLOC_FAILED") || absl::StrContains(message, "CUDNN_STATUS_ALLOC_FAILED");
}

}  // namespace flowawr
