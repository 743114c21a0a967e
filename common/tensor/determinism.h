// Which of an accelerator's kernels LibTorch may choose. The switches are LibTorch's, one set a process.
//
// On a CPU nothing is switched: its kernels give the same bits each time as they are.
#pragma once

#include <c10/core/Device.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Before anything computes on `device`, and before other threads use LibTorch; harmless if repeated. `deterministic`:
// only kernels that give the same bits each time, attention's backward pass included. An operation that has none
// throws, which OnDevice() makes an error after which the process must end.
//
// Either way float32 means float32: neither products nor convolutions round their operands to TF32, and the sums of
// bfloat16 products are float32 to their end.
//
// FailedPrecondition, with nothing switched, when CUBLAS_WORKSPACE_CONFIG lets cuBLAS choose otherwise;
// PrepareDeviceLibraries() sets it. The error names `field`, by which the user asks for this; empty: there is none.
absl::Status ChooseKernels(bool deterministic, at::Device device, absl::string_view field = "");

// Whether LibTorch's `message`, thrown after ChooseKernels(true, ...), is that an operation has no such kernel.
bool SaysNotDeterministic(const std::string& message);

}  // namespace flowawr
