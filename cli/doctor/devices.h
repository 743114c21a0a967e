// What the doctor says of accelerators: what the driver has, what LibTorch sees of it, and what does not fit together.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/doctor/finding.h"
#include "common/tensor/cuda_driver.h"

namespace flowawr {

struct DeviceSight {
  std::vector<std::string> accelerators;  // that LibTorch sees, as DescribeDevice()
  std::string cuda;                       // of LibTorch's CUDA build, e.g. 13.0; empty: the CPU build
  std::string nccl;                       // its version; empty: there is none
  absl::Status kernels_choice = absl::OkStatus();  // as CheckCudaKernelsChoice() has it
  // What the CUDA kernels are built for that the first card runs; NotFound: there are none, another error: it cannot.
  absl::StatusOr<std::string> kernels = absl::NotFoundError("not looked for");
  absl::StatusOr<CudaDriver> driver = absl::NotFoundError("not asked");
};

// Asks LibTorch, the driver and NCCL.
DeviceSight LookAtDevices();

// Pure. Nothing is bad: a run that asks for no GPU needs none.
std::vector<Finding> JudgeDevices(const DeviceSight& sight);

}  // namespace flowawr
