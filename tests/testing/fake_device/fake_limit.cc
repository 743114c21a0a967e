#include "tests/testing/fake_device/fake_limit.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <limits>

namespace flowawr::fake_device {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

std::atomic<int64_t> limit = kNone;

}  // namespace

MemoryLimit::MemoryLimit(int64_t bytes) { limit = bytes; }
MemoryLimit::~MemoryLimit() { limit = kNone; }

void CheckWithinLimit(int64_t bytes) {
  TORCH_CHECK_WITH(OutOfMemoryError, bytes <= limit, "fake device: out of memory: ", bytes,
                   " bytes would be in use of ", limit.load());
}

}  // namespace flowawr::fake_device
