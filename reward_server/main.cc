// flowawr-reward-server: reads the command line, loads the scorers, serves until a signal.
#include <cstdlib>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "common/base/allocator.h"
#include "common/base/ids.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/process/start_metrics.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/peer.h"
#include "common/rpc/server.h"
#include "common/telemetry/log.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_error.h"
#include "common/tensor/devices.h"
#include "reward_server/options.h"
#include "reward_server/reward_service.h"
#include "reward_server/scorer_host.h"

namespace flowawr {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(10);

// What the server before this one was given while it ran. One that cannot be loaded any more must not keep the others
// from being served.
void LoadRemembered(const ScorerMemory& memory, ScorerHost& host) {
  for (const std::string& complaint : memory.complaints()) spdlog::error("left out: {}", complaint);
  for (const v1::LoadScorerRequest& scorer : memory.scorers()) {
    const absl::StatusOr<v1::ScorerInfo> info = host.Load(scorer);
    if (info.ok()) {
      spdlog::info("loaded scorer {} ({}) again", info->name(), info->version());
    } else if (!absl::IsAlreadyExists(info.status())) {
      spdlog::error("a scorer that was loaded before is left out: {}", std::string(info.status().message()));
    }
  }
}

// What makes a scorer need less of a device. Its `batch` does not: a CLIP's has come down to one picture by then, and
// GenEval's models work on them one by one.
constexpr char kOutOfMemoryAdvice[] =
    "Put the scorer on another device (its option `device`), have it compute in bfloat16 (`dtype`), or give geneval "
    "smaller pictures (`short_edge`, `long_edge`)";

// Of the exception under way.
absl::Status DeviceErrorOf(const std::string& device_name) {
  const absl::Status status = OnDevice("scoring", FindDevice(device_name).value_or(at::Device(at::kCPU)),
                                       []() -> absl::Status { throw; }, kOutOfMemoryAdvice);
  return IsDeviceError(status) ? status : absl::OkStatus();
}

// A scorer whose device failed could answer BROKEN from then on, and no more. Callers see a server that has gone, and ask
// again when it was started anew.
void EndWithDeviceError(const absl::Status& status) {
  const int exit_code = ReportAndExitCodeOf(status);
  spdlog::shutdown();
  std::_Exit(exit_code);
}

// Servers that were added to a name get their share of the calls by then.
constexpr absl::Duration kMaxConnectionAge = absl::Minutes(5);

// `has_left_a_call`: see ScorerHost.
absl::Status ServeUntilSignal(const RewardServerOptions& options, ShutdownSignal& signal, bool& has_left_a_call) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto metrics,
                           StartMetrics(options.telemetry, "reward_server", options.network));
  // Whatever a run allows its models: a reward decides what is learned. Scorers name their devices when they are loaded,
  // and none may be on this one.
  for (const at::Device device : Accelerators()) {
    const absl::Status chosen = ChooseKernels(/*deterministic=*/true, device);
    if (chosen.ok()) continue;
    FLOWAWR_RETURN_IF_ERROR(ChooseKernels(/*deterministic=*/false, device));
    spdlog::warn("rewards computed on {} may differ in their last bits each time: {}", NameOf(device),
                 std::string(chosen.message()));
  }
  RunnerOptions runner_options = RunnerOptionsOf(options);
  runner_options.device_error = DeviceErrorOf;
  runner_options.on_device_error = EndWithDeviceError;
  ScorerHost host(ScorerRegistry::Default(), metrics->registry(), runner_options);
  const absl::Cleanup unload = [&] {
    host.UnloadAll();
    has_left_a_call = host.has_left_a_call();
  };
  std::unique_ptr<ScorerMemory> memory;
  if (!options.memory_file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(memory, ScorerMemory::Open(options.memory_file));
    LoadRemembered(*memory, host);
  }
  for (const v1::LoadScorerRequest& scorer : options.scorers) {
    if (host.Find(scorer.name()).ok()) {
      spdlog::warn("scorer {} is what it was replaced with while the last server ran, not what the command line says; "
                   "unload it, and the next start has the command line's",
                   scorer.name());
      continue;
    }
    FLOWAWR_ASSIGN_OR_RETURN(const v1::ScorerInfo info, host.Load(scorer));
    spdlog::info("loaded scorer {} ({})", info.name(), info.version());
  }
  const std::string instance = RandomId();
  RewardService service(host, memory.get(), metrics->registry(),
                        {.max_pending_bytes = static_cast<uint64_t>(options.max_pending_mib) << 20});
  FLOWAWR_ASSIGN_OR_RETURN(
      const auto server, RpcServer::Start({.listen = options.serving.listen,
                                          .network = options.network,
                                          .identities = {InstanceIdentity(instance)},
                                          .max_connection_age = kMaxConnectionAge},
                                         {&service}));
  host.WatchHealth([&server](const std::string& scorer, bool is_serving) {
    server->SetServing("flowawr.scorer." + scorer, is_serving);
  });
  const absl::Cleanup watch_no_longer = [&host] { host.WatchHealth(nullptr); };
  FLOWAWR_ASSIGN_OR_RETURN(const EndpointFile endpoint_file,
                           EndpointFile::Write(options.serving.endpoint_file, server->endpoint(), instance));
  spdlog::info("serving on {}, metrics on http://{}/metrics", server->endpoint(), metrics->endpoint());
  signal.Wait();
  spdlog::info("stopping: what is under way is answered first");
  server->Shutdown(kGrace);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  KeepFreedMemory();
  ShutdownSignal signal;
  const Parsed<RewardServerOptions> parsed = ParseRewardServerOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  InitLogging("reward_server", parsed.options.telemetry.log_level, parsed.options.telemetry.log_format);
  spdlog::info("flowawr {}, {}", Version(), DescribeProcessor());
  bool has_left_a_call = false;
  const int exit_code = ReportAndExitCodeOf(ServeUntilSignal(parsed.options, signal, has_left_a_call));
  if (has_left_a_call) {
    spdlog::warn("a call of a scorer has not returned: ending without it");
    spdlog::shutdown();
    std::_Exit(exit_code);
  }
  return exit_code;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
