#include "common/tensor/transfer.h"

#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/tensor/device_transfers.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

struct Count {
  absl::Mutex mutex;
  std::unordered_map<at::Device, TransferredBytes> bytes ABSL_GUARDED_BY(mutex);
};

Count& TheCount() {
  static Count& count = *new Count;  // never destroyed: threads may copy to the end
  return count;
}

}  // namespace

at::Tensor MovedTo(const at::Tensor& tensor, at::Device device) {
  at::Tensor moved = tensor.to(device);
  CountTransfer(tensor, moved);
  return moved;
}

void CountTransfer(const at::Tensor& from, const at::Tensor& to) {
  if (from.is_cpu() == to.is_cpu()) return;
  const auto size = static_cast<int64_t>(from.nbytes());
  Count& count = TheCount();
  const absl::MutexLock lock(&count.mutex);
  if (from.is_cpu()) {
    count.bytes[to.device()].up += size;
  } else {
    count.bytes[from.device()].down += size;
  }
}

std::map<std::string, TransferredBytes> TransfersByDevice() {
  Count& count = TheCount();
  const absl::MutexLock lock(&count.mutex);
  std::map<std::string, TransferredBytes> named;
  for (const auto& [device, bytes] : count.bytes) named[NameOf(device)] = bytes;
  return named;
}

}  // namespace flowawr
