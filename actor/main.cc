// flowawr-actor: reads the command line, wires the actor up, and turns signals into a stop.
#include <cstdio>
#include <thread>

#include "absl/synchronization/notification.h"
#include "actor/actor.h"
#include "actor/actor_metrics.h"
#include "actor/learner_client.h"
#include "actor/options.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/rpc/endpoint_file.h"
#include "common/telemetry/log.h"
#include "common/telemetry/metrics.h"

namespace flowawr {
namespace {

absl::Status RunUntilSignal(const ActorOptions& options, ShutdownSignal& signal) {
  FLOWAWR_ASSIGN_OR_RETURN(auto metrics_server,
                           MetricsServer::Start(options.metrics, "actor", options.network.insecure()));
  if (!options.metrics_endpoint_file.empty())
    FLOWAWR_RETURN_IF_ERROR(WriteEndpointFile(options.metrics_endpoint_file, metrics_server->endpoint()));
  ActorMetrics metrics(metrics_server->registry());
  FLOWAWR_ASSIGN_OR_RETURN(auto learner, LearnerClient::Create(options.learner, options.network, options.id));
  Actor actor(options, std::move(learner), metrics);
  absl::Status status;
  absl::Notification done;
  std::thread runner([&] {
    status = actor.Run();
    done.Notify();
  });
  while (!done.HasBeenNotified()) {
    if (!signal.Wait(absl::Milliseconds(50))) continue;
    spdlog::info("stopping: leases go back to the learner");
    actor.Stop();
  }
  runner.join();
  return status;
}

int Main(int argc, char** argv) {
  ShutdownSignal signal;
  const ParsedOptions parsed = ParseOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  InitLogging(parsed.options.id, parsed.options.log_level);
  const absl::Status status = RunUntilSignal(parsed.options, signal);
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
