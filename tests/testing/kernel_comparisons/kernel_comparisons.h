// Every operation that a device may have kernels of its own for (common/nn/device_kernels.h), on a device, against the
// same formula in LibTorch's operations on the host in doubles.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace flowawr {

struct KernelComparison {
  std::string what;  // e.g. LayerNormModulate [3, 5, 37] BFloat16, gradient 0
  double error = 0;  // |actual - expected| / |expected|
  double bound = 0;  // the error that roundings explain

  bool IsWithin() const { return error <= bound; }  // NaN is not
};

// Results and gradients, f32 and bfloat16: rows of whole packs and odd ones, one element, nothing at all, addresses in
// the middle of a pack, a sample that all share, vectors that are slices of a wider one; and bits that must be the same
// again and without the rest of the batch. Small enough for compute-sanitizer.
std::vector<KernelComparison> CompareKernels(at::Device device);

}  // namespace flowawr
