// How the server serves one scorer, whatever its kind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace flowawr {

struct RunnerOptions {
  int threads = 1;                                  // of the processor that the scorer may keep busy
  std::string device = "auto";                      // where its model computes; see ResolveRewardDevice()
  int largest_batch = 0;                            // images of one call of it; 0: what it recommends
  size_t max_queued_images = 1024;                  // that wait for it; more are OVERLOADED
  absl::Duration max_wait = absl::Milliseconds(5);  // for a batch to fill; what works image by image never waits
  uint32_t max_side = 4096;                         // pixels of an image; larger ones are BAD_INPUT
  absl::Duration max_image_time = absl::Seconds(30);  // of scoring, for each image of a batch; longer: BROKEN
  absl::Duration stuck_after = absl::Seconds(10);     // a call that is not back so much later makes the scorer STUCK
  absl::Duration stop_grace = absl::Seconds(10);      // what is not done so long after the stop is given up
  // What an exception of the scorer's says of its device, OK: nothing; called while it is being handled, so that `throw;`
  // has it. From any thread. Null: nothing.
  std::function<absl::Status(const std::string& device)> device_error;
  // Called with such an error of a scorer that was serving.
  std::function<void(const absl::Status& device_error)> on_device_error;
};

// For --help: the options of every scorer that TakeRunnerOptions() reads.
inline constexpr char kRunnerOptionsHelp[] =
    R"(Options of every scorer, whatever its kind; those of the server are their defaults:
    threads=N           of the processor, all its calls together (--threads)
    device=NAME         where its model, if it has one, computes: cpu, cuda, cuda:1, ... (--device)
    batch=N             images of one call, at most; 0: what the kind is best given (--max-batch). On a device a CLIP
                        computes so many at once, with copies for those that are missing
    wait_ms=N           how long a call waits for its batch to fill (--max-wait-ms)
    queue=N             images that may wait for it (--max-queued)
    image_seconds=N     scoring an image longer is given up (--max-image-seconds))";

// `defaults` with what `options` says otherwise; takes those it reads out of `options`, the rest is the scorer's.
// The device is one by its own name from then on. InvalidArgument names the option and what is accepted.
absl::StatusOr<RunnerOptions> TakeRunnerOptions(std::map<std::string, std::string>& options,
                                                const RunnerOptions& defaults);

}  // namespace flowawr
