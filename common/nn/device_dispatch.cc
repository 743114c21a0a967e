#include "common/nn/device_dispatch.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status.h"
#include "common/tensor/library_symbol.h"

namespace flowawr {
namespace {

constexpr DeviceKernels kNone;  // looked for, and not there

std::array<std::atomic<const DeviceKernels*>, c10::COMPILE_TIME_MAX_DEVICE_TYPES> given_by_type{};
// Of CUDA devices by index; null: not looked for yet.
std::array<std::atomic<const DeviceKernels*>, std::numeric_limits<c10::DeviceIndex>::max() + 1> found_by_cuda_device{};

const DeviceKernels* LookFor(at::Device device) {
  const absl::StatusOr<const DeviceKernels*> kernels = FindCudaKernels(device);
  if (!kernels.ok()) {
    spdlog::log(absl::IsInvalidArgument(kernels.status()) ? spdlog::level::warn : spdlog::level::info,
                "{}: LibTorch's operations instead of kernels of our own: {}", device.str(),
                std::string(kernels.status().message()));
    return &kNone;
  }
  spdlog::info("{}: kernels of our own for {}", device.str(), (*kernels)->built_for);
  return *kernels;
}

}  // namespace

absl::StatusOr<const DeviceKernels*> LoadDeviceKernels(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);  // for ever: its functions are handed out
  if (handle == nullptr) return absl::NotFoundError(dlerror());
  DeviceKernelsFunction function = nullptr;
  if (!FindSymbol(handle, kDeviceKernelsSymbol, &function))
    return absl::FailedPreconditionError(absl::StrCat(library, " has no ", kDeviceKernelsSymbol));
  const DeviceKernels* kernels = function();
  if (kernels->abi != kDeviceKernelsAbi)
    return absl::FailedPreconditionError(absl::StrCat(library, " has version ", kernels->abi,
                                                      " of the kernels' interface, this program ", kDeviceKernelsAbi,
                                                      ": install both of one build"));
  return kernels;
}

absl::Status CheckCudaKernelsChoice() {
  const char* variable = std::getenv("FLOWAWR_CUDA_KERNELS");
  const absl::string_view choice = variable == nullptr ? "on" : variable;
  if (choice == "on") return absl::OkStatus();
  if (choice == "off") return absl::FailedPreconditionError("FLOWAWR_CUDA_KERNELS=off");
  return absl::InvalidArgumentError(absl::StrCat("FLOWAWR_CUDA_KERNELS=", choice, ": it is \"on\" or \"off\""));
}

absl::StatusOr<const DeviceKernels*> FindCudaKernels(at::Device device) {
  FLOWAWR_RETURN_IF_ERROR(CheckCudaKernelsChoice());
  static const absl::StatusOr<const DeviceKernels*> library = LoadDeviceKernels();
  if (!library.ok()) return library.status();
  const c10::DeviceGuard guard(device);
  if (const int32_t error = (*library)->check(); error != 0)
    return absl::FailedPreconditionError(
        absl::StrCat("kernels for ", (*library)->built_for, " do not run here: ", (*library)->describe(error)));
  return *library;
}

void UseDeviceKernels(at::DeviceType type, const DeviceKernels* kernels) {
  given_by_type[static_cast<size_t>(type)] = kernels;
}

const DeviceKernels* DeviceKernelsFor(const at::Tensor& x) {
  if (x.is_cpu() || (x.scalar_type() != at::kFloat && x.scalar_type() != at::kBFloat16)) return nullptr;
  const at::Device device = x.device();
  const DeviceKernels* const given = given_by_type[static_cast<size_t>(device.type())];
  if (given != nullptr || !device.is_cuda()) return given;
  std::atomic<const DeviceKernels*>& found = found_by_cuda_device.at(static_cast<size_t>(device.index()));
  const DeviceKernels* kernels = found;
  if (kernels == nullptr) {
    // Several threads may look at once, and find the same.
    kernels = LookFor(device);
    found = kernels;
  }
  return kernels == &kNone ? nullptr : kernels;
}

DeviceElement DeviceElementOf(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? DeviceElement::kBf16 : DeviceElement::kFloat;
}

void StartOnStream(const DeviceKernels& kernels, at::Device device, absl::FunctionRef<int32_t(void* stream)> start) {
  const c10::DeviceGuard guard(device);
  const c10::impl::VirtualGuardImpl streams(device.type());
  const int32_t error = start(streams.getStreamNativeHandle(streams.getStream(device)));
  if (error == 0) return;
  throw c10::AcceleratorError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, error,
                              absl::StrCat("a kernel was not started: ", kernels.describe(error)));
}

}  // namespace flowawr
