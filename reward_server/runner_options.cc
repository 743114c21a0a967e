#include "reward_server/runner_options.h"

#include <utility>

#include "common/base/status.h"
#include "common/tensor/device_names.h"
#include "reward_server/scorer_options.h"

namespace flowawr {

absl::StatusOr<RunnerOptions> TakeRunnerOptions(std::map<std::string, std::string>& options,
                                                const RunnerOptions& defaults) {
  std::map<std::string, std::string> mine;
  for (const std::string& name : OptionsOfEveryScorer())
    if (auto node = options.extract(name); !node.empty()) mine.insert(std::move(node));
  ScorerOptions given(std::move(mine));
  RunnerOptions taken = defaults;
  taken.threads = given.Integer("threads", defaults.threads, 1, 256);
  taken.device = given.Text("device", defaults.device);
  taken.largest_batch = given.Integer("batch", defaults.largest_batch, 0, 4096);
  taken.max_queued_images =
      static_cast<size_t>(given.Integer("queue", static_cast<int>(defaults.max_queued_images), 1, 1'000'000));
  const int wait_ms = given.Integer("wait_ms", -1, 0, 60'000);
  const int image_seconds = given.Integer("image_seconds", 0, 1, 3600);
  if (wait_ms >= 0) taken.max_wait = absl::Milliseconds(wait_ms);
  if (image_seconds > 0) taken.max_image_time = absl::Seconds(image_seconds);
  FLOWAWR_RETURN_IF_ERROR(given.Finish());
  absl::StatusOr<std::string> device = ResolveRewardDevice(taken.device);
  if (!device.ok()) return Annotate(device.status(), "option device");
  taken.device = *std::move(device);
  return taken;
}

}  // namespace flowawr
