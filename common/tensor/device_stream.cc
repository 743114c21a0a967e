#include "common/tensor/device_stream.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "common/tensor/pinned_memory.h"
#include "common/tensor/transfer.h"

namespace flowawr {

OwnStream::OwnStream(at::Device device) {
  if (!device.is_cpu()) guard_.emplace(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device));
}

void AwaitStream(at::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).getStream(device).synchronize();
}

at::Tensor ToHostSoon(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  const at::Tensor host = EmptyPinned(tensor.sizes(), tensor.scalar_type());
  CountTransfer(tensor, host);
  return host.copy_(tensor.contiguous(), /*non_blocking=*/true);
}

}  // namespace flowawr
