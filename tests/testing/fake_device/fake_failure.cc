#include "tests/testing/fake_device/fake_failure.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <cstdint>

namespace flowawr::fake_device {
namespace {

constexpr int kIllegalAddress = 700;  // cudaErrorIllegalAddress

std::atomic<int> failures = 0;

}  // namespace

Failure::Failure() { ++failures; }
Failure::~Failure() { --failures; }

void CheckNotFailed() {
  if (failures == 0) return;
  throw c10::AcceleratorError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, kIllegalAddress,
                              "fake device: an illegal memory access was encountered");
}

}  // namespace flowawr::fake_device
