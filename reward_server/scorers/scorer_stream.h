// The stream of a device on which one scorer computes, so that scorers that are asked at the same time overlap there.
//
// What crosses from one scorer to another is finished before the other sees it: a CLIP's weights, for which
// WeightBinder::Finish() waits, and its embeddings, which SharedClip remembers on the host. And Run() returns when the
// device is done, also with a call that was given up halfway: so a scorer's last user may free the weights, the seconds
// of a call are those of the device, and an error of the device is met by whoever asked for the work.
//
// A scorer that is gone leaves its stream to the next one: LibTorch keeps freed memory, and cuBLAS its workspace, by
// stream, and a scorer that is replaced again and again must not leave some on each of LibTorch's 32 streams.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <optional>

#include "absl/functional/function_ref.h"

namespace flowawr {

// Thread-safe: calls side by side share the stream. On the CPU it does nothing.
class ScorerStream {
 public:
  explicit ScorerStream(at::Device device);
  ~ScorerStream();
  ScorerStream(const ScorerStream&) = delete;
  ScorerStream& operator=(const ScorerStream&) = delete;

  // Calls `work` with this as the thread's current stream of the device, and waits for it. Throws what `work` throws, or
  // what the device does.
  void Run(absl::FunctionRef<void()> work) const;

 private:
  std::optional<c10::Stream> stream_;  // of an accelerator
};

}  // namespace flowawr
