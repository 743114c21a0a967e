// The service's side of bench/clip_scorers.py and of gpu-check's bench/scoring: one scorer, timed batch by batch as it
// is told.
//
// usage: flowawr_clip_bench KIND MODEL_FOLDER DTYPE THREADS BATCH SIDE [DEVICE]
// BATCH is the scorer's option `batch`, too; 0: what it is best given. Prints "ready BATCH" when the scorer is loaded.
// For each line on standard input it scores BATCH new random pictures of SIDE x SIDE pixels, all with that line as
// their prompt, and prints the seconds that took and the processor's seconds.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <random>
#include <string>

#include "common/base/status.h"
#include "common/process/device_libraries.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/tensor/determinism.h"
#include "common/tensor/devices.h"
#include "reward_server/scorers/clip_scorer.h"

namespace flowawr {
namespace {

// As a reward server does.
absl::Status ChooseKernelsOf(const std::string& device) {
  FLOWAWR_ASSIGN_OR_RETURN(const at::Device found, FindDevice(device));
  return ChooseKernels(/*deterministic=*/true, found);
}

int Main(char** argv, const std::string& device) {
  if (const absl::Status chosen = ChooseKernelsOf(device); !chosen.ok()) return ReportAndExitCodeOf(chosen);
  const std::string kind = argv[1];
  ScorerOptions options({{"model", argv[2]}, {"dtype", argv[3]}});
  const ScorerContext context{.threads = std::atoi(argv[4]), .device = device, .batch = std::atoi(argv[5])};
  const auto scorer = kind == "clipscore" ? ClipScorer::LoadClipScore(options, context)
                      : kind == "hpsv2"   ? ClipScorer::LoadHpsV2(options, context)
                                          : ClipScorer::LoadPickScore(options, context);
  if (!scorer.ok()) return ReportAndExitCodeOf(scorer.status());
  const int batch = context.batch > 0 ? context.batch : (*scorer)->recommended_batch(), side = std::atoi(argv[6]);
  std::mt19937 random(1);
  std::printf("ready %d\n", batch);
  std::fflush(stdout);
  for (std::string prompt; std::getline(std::cin, prompt);) {
    std::vector<v1::ScoreItem> items(batch);
    std::vector<const v1::ScoreItem*> pointers;
    for (v1::ScoreItem& item : items) {
      item.set_height(side);
      item.set_width(side);
      item.set_prompt(prompt);
      for (int i = 0; i < side * side * 3; ++i) item.mutable_image_rgb()->push_back(static_cast<char>(random()));
      pointers.push_back(&item);
    }
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used_before = std::clock();
    const auto results = (*scorer)->Score(pointers, kAlwaysWanted);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const std::clock_t used_after = std::clock();
    for (const v1::ScoreResult& result : results)
      if (result.has_error()) return ReportAndExitCodeOf(absl::InternalError(result.error().message()));
    const double used = static_cast<double>(used_after - used_before) / CLOCKS_PER_SEC;
    std::printf("%.6f %.6f\n", seconds.count(), used);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  const absl::Status restricted = flowawr::RestrictProcessor();
  if (!restricted.ok()) return flowawr::ReportAndExitCodeOf(restricted);
  flowawr::PrepareDeviceLibraries();
  if (argc != 7 && argc != 8) {
    std::fputs("usage: flowawr_clip_bench KIND MODEL_FOLDER DTYPE THREADS BATCH SIDE [DEVICE]\n", stderr);
    return flowawr::kUsageExitCode;
  }
  return flowawr::Main(argv, argc == 8 ? argv[7] : "cpu");
}
