#include "common/tensor/weight_upload.h"

#include <c10/core/DeviceGuard.h>
#include <torch/types.h>

#include <algorithm>
#include <exception>

#include "common/tensor/convert.h"
#include "common/tensor/pinned_memory.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr int64_t kAlignment = 64;  // a multiple of every type's size

}  // namespace

// Here and below the thread's device is `device`: else LibTorch's events set the thread's own again after whatever they do,
// and what CUDA is asked of one of them it asks on that device, too, where CUDA then keeps half a GB.
WeightUpload::WeightUpload(at::Device device) : device_(device) {
  const c10::DeviceGuard on_device(device);
  for (int i = 0; i < 2; ++i) buffers_.push_back({EmptyPinned({kBufferBytes}, at::kByte), c10::Event(device.type())});
}

WeightUpload::~WeightUpload() {
  try {
    const c10::DeviceGuard on_device(device_);
    buffers_.clear();
  } catch (const std::exception&) {  // a device that failed
  }
}

void WeightUpload::Copy(const at::Tensor& destination, const at::Tensor& source) {
  const at::Tensor to = destination.view(-1), from = source.contiguous().view(-1);
  for (int64_t begin = 0; begin < from.numel();) {
    const at::Tensor staged = Room(from.numel() - begin, from.scalar_type());
    const int64_t count = staged.numel();
    ConvertInto(staged, from.narrow(0, begin, count));
    const at::Tensor part = to.narrow(0, begin, count);
    // A copy into another type would convert on the host.
    const bool is_of_type = part.scalar_type() == staged.scalar_type();
    part.copy_(is_of_type ? staged : staged.to(at::TensorOptions(device_), /*non_blocking=*/true),
               /*non_blocking=*/true);
    CountTransfer(staged, part);
    begin += count;
  }
  DropPages(source);  // those that two pieces share
}

void WeightUpload::Await() { CurrentStream().synchronize(); }

at::Tensor WeightUpload::Room(int64_t count, at::ScalarType dtype) {
  const auto width = static_cast<int64_t>(c10::elementSize(dtype));
  if (kBufferBytes - filled_bytes_ < width) UseOtherBuffer();
  const int64_t fitting = std::min(count, (kBufferBytes - filled_bytes_) / width);
  const at::Tensor room = buffers_[filling_].bytes.narrow(0, filled_bytes_, fitting * width).view(dtype);
  filled_bytes_ = (filled_bytes_ + fitting * width + kAlignment - 1) / kAlignment * kAlignment;
  return room;
}

void WeightUpload::UseOtherBuffer() {
  const c10::DeviceGuard on_device(device_);
  buffers_[filling_].sent.record(CurrentStream());
  filling_ = 1 - filling_;
  filled_bytes_ = 0;
  buffers_[filling_].sent.synchronize();
}

c10::Stream WeightUpload::CurrentStream() const {
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
}

}  // namespace flowawr
