// flowawr-actor: reads the command line, wires the actor up, and turns signals into a stop.
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "actor/actor.h"
#include "actor/actor_metrics.h"
#include "actor/learner_client.h"
#include "actor/options.h"
#include "actor/peer_server.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/process/start_metrics.h"
#include "common/telemetry/log.h"

namespace flowawr {
namespace {

absl::Status RunUntilSignal(const ActorOptions& options, ShutdownSignal& signal) {
  FLOWAWR_ASSIGN_OR_RETURN(auto metrics_server, StartMetrics(options.telemetry, "actor", options.network));
  ActorMetrics metrics(metrics_server->registry());
  std::unique_ptr<PeerServer> peers;
  std::string peer_endpoint = options.peer_address;
  if (!options.peer_listen.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(peers, PeerServer::Start(options.peer_listen, options.network));
    if (peer_endpoint.empty()) peer_endpoint = peers->endpoint();
    spdlog::info("serving adapters to other actors on {}", peers->endpoint());
  }
  FLOWAWR_ASSIGN_OR_RETURN(auto learner,
                           LearnerClient::Create(options.learner, options.network, options.id, peer_endpoint));
  Actor actor(options, std::move(learner), metrics, peers ? &peers->held() : nullptr);
  absl::Status status;
  absl::Notification done;
  bool was_stopped = false;
  std::thread runner([&] {
    status = actor.Run();
    done.Notify();
  });
  while (!done.HasBeenNotified()) {
    if (!signal.Wait(absl::Milliseconds(50))) continue;
    spdlog::info("stopping: leases go back to the learner");
    actor.Stop();
    was_stopped = true;
  }
  runner.join();
  if (was_stopped && options.fails_when_stopped) status.Update(absl::CancelledError("stopped before the end of the run"));
  return status;
}

int Main(int argc, char** argv) {
  ShutdownSignal signal;
  LetOrphansBeReaped();
  const Parsed<ActorOptions> parsed = ParseActorOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  InitLogging(parsed.options.id, parsed.options.telemetry.log_level, parsed.options.telemetry.log_format);
  spdlog::info("flowawr {}, {}", Version(), DescribeProcessor());
  return ReportAndExitCodeOf(RunUntilSignal(parsed.options, signal));
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
