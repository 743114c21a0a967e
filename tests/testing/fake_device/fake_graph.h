// Recording on the fake device, by LibTorch's registry of graphs: what a thread asks of it between a graph's capture_begin()
// and its capture_end() is kept, and computed again at each replay, on the same operands, into the same results.
//
// As on CUDA nothing is done while it is recorded: afterwards all memory is as it was, and what was made is NaN until a
// replay. What a capture of CUDA's cannot hold is refused, and ends it: the default stream, another stream, whatever crosses
// over (also by pinned memory, whose contents would be those of a later time), values that are read, waits and questions.
// So is, in any other thread, to wait for the device or for the stream that is recorded, or to ask that for anything; else
// other threads go on as ever, as in CUDA's mode ThreadLocal. Unlike CUDA it frees nothing that a graph still needs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <functional>

namespace flowawr::fake_device {

struct GraphCounts {
  int64_t recorded = 0;  // captures that ended well, if only with what was asked before there was no memory
  int64_t refused = 0;   // and those that did not
  int64_t replays = 0;
  int64_t pools = 0;  // of memory, begun by a capture that shares no other graph's
};
// Since the last call, of all threads. Thread-safe.
GraphCounts TakeGraphCounts();

// The rest is for the device itself, and but for RefuseWhileRecorded() about the calling thread.
bool IsRecording();
// While recording: c10::Error, as nothing like `what` can be recorded.
void RefuseWhileRecording(const char* what);
// `again` does once more, without being recorded, what was asked of the device.
void Keep(std::function<void()> again);
// An operand that `stream` would use, before that; a result that was made just now.
void WillUse(c10::Stream stream, const at::Tensor& tensor, bool is_written);
void WillMake(const at::Tensor& tensor);
// While another thread records that stream, or any of the device: c10::Error, and its recording ends with `what`, too.
void RefuseWhileRecorded(c10::Stream stream, const char* what);
void RefuseWhileRecorded(c10::DeviceIndex device, const char* what);

}  // namespace flowawr::fake_device
