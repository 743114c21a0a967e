// A way straight from one device to another's, beside a link between hosts. NCCL's is in a library of its own
// (libflowawr_nccl.so), which needs LibTorch's CUDA build and is looked for when it is wanted: see nccl.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <string>

namespace flowawr {

// One end; the other makes the opposite call at the same time, which the link arranges. One call at a time, but for
// Break(). Nothing of absl is in it: the library has no share in the program's.
class DeviceLine {
 public:
  virtual ~DeviceLine() = default;

  // That tensors must lie on, and arrive on.
  virtual at::Device device() const = 0;

  // Return when the device is done with the tensor. Empty, or what went wrong, within about `limit`, after which the
  // line is of no more use. Do not throw.
  virtual std::string Send(const at::Tensor& tensor, std::chrono::milliseconds limit) = 0;
  virtual std::string Receive(const at::Tensor& tensor, std::chrono::milliseconds limit) = 0;

  // Ends the call that is under way, and every later one, with an error. From any thread.
  virtual void Break() = 0;
};

}  // namespace flowawr
