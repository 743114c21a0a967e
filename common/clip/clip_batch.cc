#include "common/clip/clip_batch.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "common/tensor/device_facts.h"
#include "common/tensor/out_of_memory.h"

namespace flowawr {

ClipBatch::ClipBatch(int wanted, at::Device device, std::string owner)
    : device_(device), owner_(std::move(owner)), size_(device.is_cpu() ? 1 : wanted > 0 ? wanted : kUsual) {}

absl::StatusOr<at::Tensor> ClipBatch::WithinMemory(absl::FunctionRef<absl::StatusOr<at::Tensor>(int size)> embed) {
  for (;;) {
    const int size = size_;
    try {
      return embed(size);
    } catch (const c10::Error& error) {
      if (size == 1 || !SaysOutOfMemory(error)) throw;
      Halve(size, error.what_without_backtrace());
    }
  }
}

// Another thread may have done so meanwhile.
void ClipBatch::Halve(int size, const std::string& why) {
  int expected = size;
  if (!size_.compare_exchange_strong(expected, size / 2)) return;
  spdlog::warn(
      "{}: {} at once do not fit into the memory of {}; from now on {} at once, by which rewards may differ in their "
      "last bits: {}",
      owner_, size, DescribeDevice(device_), size / 2, why.substr(0, why.find('\n')));
}

}  // namespace flowawr
