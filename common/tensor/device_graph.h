// Work of a device that is asked for once and done many times (a CUDA graph): a replay costs the host one launch, where
// asking for every operation again costs one launch each.
//
// By LibTorch's registry of graphs. LibTorch itself has none for CUDA: libflowawr_graphs.so (cuda_graph.cc), built by
// FLOWAWR_CUDA and looked for beside the program when it is wanted, adds it.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace at {
struct GraphImplInterface;
}

namespace flowawr {

// Not for two threads at once; each may have its own.
class DeviceGraph {
 public:
  // FailedPrecondition where nothing can be recorded, and why: the CPU, no library, LibTorch before 2.13. Thread-safe.
  static absl::Status CheckDevice(at::Device device);

  // Records what `work` asks of `device` without its being done. It is asked of the thread's current stream, which must
  // not be the default one, and only of that; `work` waits for nothing, copies nothing to or from the host, and has run
  // before with tensors of the same shapes on the same thread and stream, so that libraries and workspaces are there.
  //
  // Other threads may use the device meanwhile: allocate and free, of pinned memory too, ask their own streams for work, and
  // wait for those and for events. What they must not is ask this stream for anything, or wait for it or for the whole
  // device: both ends with an error there, and the recording with another. And what LibTorch keeps of freed memory it gives
  // to nobody else meanwhile (AgainAfterRecording()). One thread of a process records at a time, the next waits.
  //
  // Operands keep their addresses: tensors from outside that `work` uses must live as long as this, and what it makes is
  // memory of the graph's, whether or not it is freed. `shares_memory` is a graph that is never replayed between the replay
  // of this one and the last use of what that made; null: none.
  //
  // ResourceExhausted when there was not enough memory, FailedPrecondition when `work`, which may throw, asked for something
  // that cannot be recorded. The stream is as it was before, and what was taken is free to be given back.
  static absl::StatusOr<std::unique_ptr<DeviceGraph>> Record(at::Device device, absl::FunctionRef<void()> work,
                                                             const DeviceGraph* shares_memory = nullptr);

  // Asks the thread's current stream for all of it. Throws what a device throws.
  void Replay();

 private:
  explicit DeviceGraph(std::shared_ptr<at::GraphImplInterface> recorded) : recorded_(std::move(recorded)) {}

  const std::shared_ptr<at::GraphImplInterface> recorded_;  // shared, as it is declared here alone
};

// What `work` returns; if that is ResourceExhausted, and a thread of the process recorded meanwhile, what it returns when it
// is done once more after that: memory that LibTorch keeps may not have been had just then. For whoever shares a device with
// a thread that records; `work` may be that thread's. Thread-safe.
absl::Status AgainAfterRecording(absl::FunctionRef<absl::Status()> work);

}  // namespace flowawr
