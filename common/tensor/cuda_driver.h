// What NVIDIA's driver says of itself and its cards, asked without CUDA's headers and without LibTorch's CUDA build: for
// people, and to tell a missing driver from a LibTorch without CUDA. Creates no context, takes no device memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

struct CudaCard {
  std::string name;          // NVIDIA H100 80GB HBM3
  std::string pci_bus_id;    // 0000:65:00.0
  int64_t memory_bytes = 0;  // all of it
};

struct CudaDriver {
  std::string version;            // the newest CUDA that it runs, e.g. 13.0
  std::vector<CudaCard> devices;  // in LibTorch's order, CUDA_VISIBLE_DEVICES heeded
};

// NotFound without a driver; FailedPrecondition, with its number, when it answers with an error (as without a card).
// Thread-safe.
absl::StatusOr<CudaDriver> AskCudaDriver(const std::string& library = "libcuda.so.1");

}  // namespace flowawr
