#include "common/tensor/device_error.h"

#include <c10/util/Exception.h>

#include <exception>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_facts.h"
#include "common/tensor/out_of_memory.h"

namespace flowawr {
namespace {

constexpr char kIsDeviceError[] = "flowawr/device_error";

absl::Status DeviceError(absl::StatusCode code, const std::string& message) {
  absl::Status error(code, message);
  error.SetPayload(kIsDeviceError, absl::Cord());
  return error;
}

// LibTorch's next lines are advice for people who debug kernels.
std::string FirstLine(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

// "sampling on cuda:0 (NVIDIA H100 80GB HBM3), 61.2 GB allocated, ..."
std::string Where(absl::string_view operation, at::Device device) {
  const std::string memory = DescribeMemory(MemoryOf(device));
  return absl::StrCat(operation, " on ", DescribeDevice(device), memory.empty() ? "" : ", ", memory);
}

absl::Status NotDeterministic(absl::string_view operation, at::Device device, const std::string& message) {
  return DeviceError(absl::StatusCode::kFailedPrecondition,
                     absl::StrCat(operation, " on ", DescribeDevice(device), ": ",
                                  message.substr(0, message.find(" does not have")),
                                  " has no kernel there that gives the same bits each time. model.deterministic: false ",
                                  "lets it use another, and the option device: cpu moves a scorer"));
}

absl::Status DeviceFailed(absl::string_view operation, at::Device device, absl::string_view words) {
  return DeviceError(absl::StatusCode::kAborted,
                     absl::StrCat("the device failed: ", Where(operation, device), ": ", words,
                                  "; this process cannot use it any more and must be started anew"));
}

// cuBLAS, cuDNN and their like have no exception of their own. What they do not support, or were asked wrongly, is the
// program's fault and would come again.
bool SaysLibraryFailed(absl::string_view message) {
  for (const char* fault : {"_NOT_SUPPORTED", "_INVALID_VALUE", "_BAD_PARAM"})
    if (absl::StrContains(message, fault)) return false;
  for (const char* library : {"CUBLAS_STATUS_", "CUDNN_STATUS_", "CUSPARSE_STATUS_", "CUSOLVER_STATUS_", "CUDA error"})
    if (absl::StrContains(message, library)) return true;
  return false;
}

}  // namespace

absl::Status OnDevice(absl::string_view operation, at::Device device, absl::FunctionRef<absl::Status()> work,
                      absl::string_view advice) {
  try {
    return work();
  } catch (const c10::Error& error) {
    if (SaysOutOfMemory(error))
      return DeviceError(absl::StatusCode::kResourceExhausted,
                         absl::StrCat("out of memory: ", Where(operation, device), ": ", FirstLine(error),
                                      advice.empty() ? "" : ". ", advice));
    if (const auto* failed = dynamic_cast<const c10::AcceleratorError*>(&error); failed != nullptr)
      return DeviceFailed(operation, device, absl::StrCat(FirstLine(error), " (error ", failed->get_error_code(), ")"));
    const std::string message = error.what_without_backtrace();
    if (SaysNotDeterministic(message)) return NotDeterministic(operation, device, message);
    if (!device.is_cpu() && SaysLibraryFailed(message)) return DeviceFailed(operation, device, FirstLine(error));
    return absl::InternalError(absl::StrCat(operation, ": ", message));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(operation, ": ", error.what()));
  }
}

bool IsDeviceError(const absl::Status& status) { return status.GetPayload(kIsDeviceError).has_value(); }

}  // namespace flowawr
