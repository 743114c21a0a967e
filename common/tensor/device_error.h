// What a device throws, as the error with which its process ends.
//
// An accelerator that failed (an illegal address, a card that fell off the bus) answers nothing more in the process that
// it failed in: every later call throws the same. Memory that ran out runs out again with the same work. So a process
// that meets either reports it and ends, with the exit code of ResourceExhausted and Aborted, "busy or full, try again"
// (common/process/exit_code.h): the supervisor starts it anew, as often as local.max_restarts allows. An operation that the
// device cannot do deterministically, where that is asked for, ends it as a configuration that does not work.
#pragma once

#include <c10/core/Device.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// What `work` returns, or what it throws: ResourceExhausted when the device's memory ran out, with its memory and then
// `advice` (what to lower); Aborted when the device failed, or a library on it (cuBLAS, cuDNN); FailedPrecondition when an
// operation has no deterministic kernel (determinism.h); Internal for anything else. `operation` says what was being
// done, e.g. "sampling 24 images". Thread-safe.
absl::Status OnDevice(absl::string_view operation, at::Device device, absl::FunctionRef<absl::Status()> work,
                      absl::string_view advice = "");

// Whether OnDevice() made it of an error of the device: the process must end with it.
bool IsDeviceError(const absl::Status& status);

}  // namespace flowawr
