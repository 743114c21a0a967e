#include "common/tensor/device_graph.h"

#include <c10/util/Exception.h>

#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/optional_library.h"

#if __has_include(<ATen/core/GraphImplInterface.h>)
#include <ATen/core/GraphImplInterface.h>
#define FLOWAWR_LIBTORCH_HAS_GRAPHS 1
#endif

namespace flowawr {

#ifdef FLOWAWR_LIBTORCH_HAS_GRAPHS
namespace {

// What `work` throws, in one line; nullopt if nothing.
std::optional<std::string> ErrorOf(absl::FunctionRef<void()> work) {
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  try {
    work();
  } catch (const c10::Error& error) {
    return first_line(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return first_line(error.what());
  }
  return std::nullopt;
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
  std::shared_ptr<at::GraphImplInterface> graph;
  std::optional<std::string> error = ErrorOf([&] {
    graph = at::create_graph_impl(device.type());
    // Another thread's cudaMalloc would end a recording that is not this thread's own affair.
    graph->capture_begin(shares_memory == nullptr ? at::MempoolId_t{0, 0} : shares_memory->recorded_->pool(),
                         at::GraphCaptureMode::ThreadLocal);
  });
  if (!error.has_value()) {
    error = ErrorOf(work);
    // In any case, so that the stream does again what it is asked; its error then only follows from the first.
    const std::optional<std::string> at_end = ErrorOf([&] { graph->capture_end(); });
    if (!error.has_value()) error = at_end;
  }
  if (error.has_value()) return absl::FailedPreconditionError(*error);
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
