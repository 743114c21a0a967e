// Tensors that go from the host to a device, or back, and the count of their bytes.
//
// Whatever this service copies between the two goes by MovedTo(), or is told to CountTransfer(), so that /metrics shows
// all of it (device_transfers.h); tests hold the sum against what crosses over to the pretend device. Single values that
// are read, as by Tensor::item(), are not counted. Thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

namespace flowawr {

// `tensor` on `device`: itself where it is there already, else a copy that is waited for, of the same type and shape.
at::Tensor MovedTo(const at::Tensor& tensor, at::Device device);

// Of a copy that its caller makes: all of `from` is written to memory where `to` is. Between two devices, and on the
// host, there is nothing to count.
void CountTransfer(const at::Tensor& from, const at::Tensor& to);

}  // namespace flowawr
