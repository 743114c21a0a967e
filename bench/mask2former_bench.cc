// The service's side of bench/mask2former.py: Mask2Former's forward pass, timed batch by batch as it is told.
//
// usage: flowawr_mask2former_bench MODEL_FOLDER DTYPE THREADS BATCH SIDE [DEVICE]
// Prints "ready" when the model is loaded. For each line on standard input it runs BATCH pictures of SIDE x SIDE pixels
// and prints the seconds that took.
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/tensor/devices.h"
#include "reward_server/detection/mask2former.h"

namespace flowawr {
namespace {

int Main(char** argv, const std::string& device_name) {
  at::set_num_threads(std::atoi(argv[3]));
  const auto device = FindDevice(device_name);
  if (!device.ok()) return ReportAndExitCodeOf(device.status());
  const auto model = Mask2Former::Load(argv[1], {DTypeNamed(argv[2]), *device});
  if (!model.ok()) return ReportAndExitCodeOf(model.status());
  const int64_t batch = std::atoi(argv[4]), side = std::atoi(argv[5]);
  const at::Tensor pixels = at::randn({batch, 3, side, side});
  std::puts("ready");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    const auto queries = (*model)->Forward(pixels, [] { return absl::OkStatus(); });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (!queries.ok()) return ReportAndExitCodeOf(queries.status());
    std::printf("%.6f\n", seconds.count());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  const absl::Status restricted = flowawr::RestrictProcessor();
  if (!restricted.ok()) return flowawr::ReportAndExitCodeOf(restricted);
  if (argc != 6 && argc != 7) {
    std::fputs("usage: flowawr_mask2former_bench MODEL_FOLDER DTYPE THREADS BATCH SIDE [DEVICE]\n", stderr);
    return flowawr::kUsageExitCode;
  }
  return flowawr::Main(argv, argc == 7 ? argv[6] : "cpu");
}
