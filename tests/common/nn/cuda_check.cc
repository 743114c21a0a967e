// Compares every kernel of libflowawr_cuda.so with LibTorch on the machine's first CUDA device, and says how far they
// are apart. Exit code 0: all are within what roundings explain; 1: not all; 69: there is no device, or no kernels for
// it. Small enough for compute-sanitizer to watch.
#include <torch/types.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "common/nn/device_dispatch.h"
#include "common/process/device_libraries.h"
#include "common/tensor/determinism.h"
#include "common/tensor/devices.h"
#include "tests/testing/kernel_comparisons/kernel_comparisons.h"

namespace flowawr {
namespace {

constexpr int kFailed = 1, kUnavailable = 69;

int Main() {
  const absl::StatusOr<at::Device> device = FindDevice("cuda");
  if (!device.ok()) {
    std::fprintf(stderr, "%s\n", std::string(device.status().message()).c_str());
    return kUnavailable;
  }
  // Between our kernels is LibTorch's attention, which is to give the same bits again, too.
  PrepareDeviceLibraries();
  if (const absl::Status status = ChooseKernels(/*deterministic=*/true, *device); !status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return kUnavailable;
  }
  if (DeviceKernelsFor(at::empty({1}, at::TensorOptions(*device).dtype(at::kFloat))) == nullptr) return kUnavailable;
  int failures = 0;
  double worst = 0;
  const std::vector<KernelComparison> comparisons = CompareKernels(*device);
  for (const KernelComparison& comparison : comparisons) {
    if (!comparison.IsWithin()) {
      ++failures;
      std::printf("FAILED %s: error %.3g, bound %.3g\n", comparison.what.c_str(), comparison.error, comparison.bound);
    } else if (comparison.bound > 0) {
      worst = std::max(worst, comparison.error / comparison.bound);
    }
  }
  std::printf("%zu comparisons, %d failed, worst of the others at %.2f of its bound\n", comparisons.size(), failures,
              worst);
  return failures == 0 ? 0 : kFailed;
}

}  // namespace
}  // namespace flowawr

int main() {
  try {
    return flowawr::Main();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return flowawr::kFailed;
  }
}
