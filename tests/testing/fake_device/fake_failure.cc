#include "tests/testing/fake_device/fake_failure.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace flowawr::fake_device {
namespace {

constexpr int kIllegalAddress = 700;  // cudaErrorIllegalAddress

std::atomic<int> failures = 0;

}  // namespace

Failure::Failure() { ++failures; }
Failure::~Failure() { --failures; }

bool HasFailed() { return failures > 0; }

void CheckNotFailed() {
  if (!HasFailed()) return;
  throw c10::AcceleratorError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, kIllegalAddress,
                              "fake device: an illegal memory access was encountered");
}

void FailIfTold() {
  const char* const file = std::getenv("FLOWAWR_FAILING_DEVICE");
  if (file != nullptr && unlink(file) == 0) ++failures;
}

}  // namespace flowawr::fake_device
