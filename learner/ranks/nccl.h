// NCCL, where it is: libflowawr_nccl.so, which is built with FLOWAWR_CUDA, beside LibTorch's CUDA build. It is looked for
// when it is wanted, so that one program serves machines with and without it. Thread-safe.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "learner/ranks/device_line.h"

namespace c10d {
class Store;
}

namespace flowawr {

struct NcclSight {
  std::string device = "";   // its name among all devices of all machines; empty: NCCL cannot be used from it
  std::string why_not = "";  // then
};
NcclSight LookForNccl(at::Device device);

// One end of a line to another process; number 0 or 1 of both. What joins them is exchanged over `store`, when the first
// tensor is sent.
absl::StatusOr<std::unique_ptr<DeviceLine>> MakeNcclLine(const c10::intrusive_ptr<c10d::Store>& store, int number,
                                                         at::Device device);

}  // namespace flowawr
