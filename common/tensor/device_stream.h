// Streams: a thread that keeps a device busy has one of its own, so that what several threads ask for may overlap.
//
// A thread hands on only what is finished: it waits for its stream before others see what it made. So no other stream
// has to wait for it, an error of the device is met by whoever asked for the work, and whoever holds a tensor last may
// free it. The wait is once for thousands of operations; the device idles for as long as it takes to ask for the next.
//
// On the CPU all of this does nothing.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include <optional>

namespace flowawr {

// From its construction to its destruction, on the same thread: the thread's current stream of `device` is a new one,
// and its current device is `device`.
class OwnStream {
 public:
  explicit OwnStream(at::Device device);

 private:
  std::optional<c10::StreamGuard> guard_;
};

// Returns when all that this thread has asked of its stream of `device` is done. Throws what a device throws. From any
// thread.
void AwaitStream(at::Device device);

// A copy in pinned memory of the host that is whole once AwaitStream() has returned; what is on the host already stays
// itself.
at::Tensor ToHostSoon(const at::Tensor& tensor);

}  // namespace flowawr
