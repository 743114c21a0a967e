#include "common/tensor/device_graph.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/tensor/optional_library.h"
#include "common/tensor/out_of_memory.h"

#if __has_include(<ATen/core/GraphImplInterface.h>)
#include <ATen/core/GraphImplInterface.h>
#define FLOWAWR_LIBTORCH_HAS_GRAPHS 1
#endif

namespace flowawr {
namespace {

ABSL_CONST_INIT absl::Mutex recording(absl::kConstInit);  // locked while something is recorded
std::atomic<int64_t> begun = 0, ended = 0;                // recordings

}  // namespace

absl::Status AgainAfterRecording(absl::FunctionRef<absl::Status()> work) {
  const int64_t ended_before = ended;
  absl::Status status = work();
  if (!absl::IsResourceExhausted(status) || begun == ended_before) return status;
  { const absl::MutexLock until_it_is_over(&recording); }
  return work();
}

#ifdef FLOWAWR_LIBTORCH_HAS_GRAPHS
namespace {

class RecordingLock {
 public:
  RecordingLock() : lock_(&recording) { ++begun; }
  ~RecordingLock() { ++ended; }

 private:
  const absl::MutexLock lock_;
};

// What `work` throws, in one line.
absl::Status StatusOf(absl::FunctionRef<void()> work) {
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  try {
    work();
  } catch (const c10::Error& error) {
    const std::string message = first_line(error.what_without_backtrace());
    return SaysOutOfMemory(error) ? absl::ResourceExhaustedError(message) : absl::FailedPreconditionError(message);
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(first_line(error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DeviceGraph::CheckDevice(at::Device device) {
  if (device.is_cpu()) return absl::FailedPreconditionError("the CPU records nothing");
  if (at::has_graph_impl(device.type())) return absl::OkStatus();
  if (!device.is_cuda())
    return absl::FailedPreconditionError(absl::StrCat("LibTorch has no graphs for devices like ", device.str()));
  static const absl::Status opened = OpenOptionalLibrary("libflowawr_graphs.so").status();  // which registers itself
  return opened.ok() ? opened : absl::FailedPreconditionError(opened.message());
}

absl::StatusOr<std::unique_ptr<DeviceGraph>> DeviceGraph::Record(at::Device device, absl::FunctionRef<void()> work,
                                                                 const DeviceGraph* shares_memory) {
  FLOWAWR_RETURN_IF_ERROR(CheckDevice(device));
  const RecordingLock lock;
  std::shared_ptr<at::GraphImplInterface> graph;
  absl::Status status = StatusOf([&] {
    graph = at::create_graph_impl(device.type());
    // In CUDA's other modes another thread's cudaMalloc or cudaFree ends this recording, or this thread may do what it must not.
    graph->capture_begin(shares_memory == nullptr ? at::MempoolId_t{0, 0} : shares_memory->recorded_->pool(),
                         at::GraphCaptureMode::ThreadLocal);
  });
  FLOWAWR_RETURN_IF_ERROR(status);
  status = StatusOf(work);
  // In any case, so that the stream does again what it is asked; its error then only follows from the first.
  const absl::Status at_end = StatusOf([&] { graph->capture_end(); });
  FLOWAWR_RETURN_IF_ERROR(status);
  FLOWAWR_RETURN_IF_ERROR(at_end);
  return std::unique_ptr<DeviceGraph>(new DeviceGraph(std::move(graph)));
}

void DeviceGraph::Replay() { recorded_->replay(); }

#else

absl::Status DeviceGraph::CheckDevice(at::Device) {
  return absl::FailedPreconditionError("this program was built with a LibTorch before 2.13, which has no graphs");
}

absl::StatusOr<std::unique_ptr<DeviceGraph>> DeviceGraph::Record(at::Device device, absl::FunctionRef<void()>,
                                                                 const DeviceGraph*) {
  return CheckDevice(device);
}

void DeviceGraph::Replay() { TORCH_CHECK(false, "nothing was recorded"); }

#endif

}  // namespace flowawr
