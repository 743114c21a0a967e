#include "cli/run_session.h"

#include <signal.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/learner_watch.h"
#include "cli/prometheus_targets.h"
#include "cli/progress_display.h"
#include "cli/supervisor.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/endpoint_file.h"

namespace flowawr {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kStopGrace = absl::Seconds(20);  // for actors and the reward server, after the learner
constexpr absl::Duration kRankGrace = absl::Seconds(3);   // a rank keeps nothing, and may be at a micro-batch for minutes
constexpr char kRewardServer[] = "reward-server";
constexpr char kLearner[] = "learner";

class RunSession {
 public:
  RunSession(const RunPlan& plan, const FolderLock& lock, ShutdownSignal& signal)
      : plan_(plan), lock_(lock), signal_(signal), supervisor_(plan.config.local().max_restarts(), Clock::Real()),
        targets_(plan.run_dir(), plan.config.name(), plan.config.network().metrics_tls()) {}

  RunOutcome Run() {
    absl::Status status = StartAll();
    while (status.ok() && !supervisor_.is_ending() && !is_killed_) Tick();
    if (status.ok()) status = supervisor_.failure();
    FinishLearner();
    StopOthers();
    TidyRunFolder(plan_);
    if (status.ok()) status = supervisor_.failure();
    display_.Finish();
    RunOutcome outcome;
    if (watch_) outcome.last = watch_->Latest();
    if (is_killed_) {
      outcome.status = absl::CancelledError("killed by a second signal; what came after the last checkpoint is lost");
    } else if (!status.ok()) {
      outcome.status = std::move(status);
    } else if (is_stopping_ && outcome.last.phase() != v1::FINISHED) {
      outcome.status = absl::CancelledError("stopped; the run is saved");
    }
    return outcome;
  }

 private:
  absl::Status StartAll() {
    std::string reward_endpoint;
    if (!plan_.scorers.empty()) {
      FLOWAWR_RETURN_IF_ERROR(Start(ProcessRole::kRewardServer, kRewardServer,
                                    RewardServerCommand(plan_, plan_.config.network().reward_listen(),
                                                        plan_.StartingConfigFile())));
      FLOWAWR_ASSIGN_OR_RETURN(reward_endpoint, WaitForEndpoint(kRewardServer));
      // The learner and the actors know this address: a new server must be found there too.
      supervisor_.SetArguments(kRewardServer, RewardServerCommand(plan_, reward_endpoint, plan_.StartingConfigFile()));
    }
    FLOWAWR_RETURN_IF_ERROR(Start(ProcessRole::kLearner, kLearner,
                                  LearnerCommand(plan_, reward_endpoint, lock_.descriptor()), lock_.descriptor()));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string learner, WaitForEndpoint(kLearner));
    if (const auto page = ReadEndpointFile(plan_.EndpointFile("learner.metrics")); page.ok())
      display_.Say(absl::StrCat("live page: ", plan_.config.network().metrics_tls() ? "https" : "http", "://", *page, "/"));
    // The learner has accepted the configuration: it is the run's now.
    supervisor_.SetArguments(kRewardServer, RewardServerCommand(plan_, reward_endpoint, plan_.ConfigFile()));
    FLOWAWR_ASSIGN_OR_RETURN(const Endpoint watched, ReadEndpoint(plan_.EndpointFile(kLearner)));
    FLOWAWR_ASSIGN_OR_RETURN(watch_, LearnerWatch::Start(watched, plan_.config.network()));
    if (plan_.config.train().ranks() > 1) FLOWAWR_RETURN_IF_ERROR(StartRanks());
    for (int i = 0; i < plan_.budget.actors; ++i)
      FLOWAWR_RETURN_IF_ERROR(Start(ProcessRole::kActor, absl::StrCat("actor-", i), ActorCommand(plan_, i, learner)));
    return absl::OkStatus();
  }

  absl::Status StartRanks() {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string rank0, WaitForEndpoint("ranks"));
    for (int rank = 1; rank < plan_.config.train().ranks(); ++rank) {
      const std::string name = absl::StrCat("rank-", rank);
      targets_.Add(name);
      FLOWAWR_RETURN_IF_ERROR(
          supervisor_.Start({.role = ProcessRole::kRank,
                             .name = name,
                             .arguments = RankCommand(plan_, rank, rank0),
                             .log_file = plan_.LogFile(name),
                             .is_dispensable = plan_.config.train().on_lost_rank() != v1::WAIT}));
    }
    return absl::OkStatus();
  }

  absl::Status Start(ProcessRole role, const std::string& name, std::vector<std::string> arguments,
                     int inherited_descriptor = -1) {
    targets_.Add(name);
    return supervisor_.Start({.role = role,
                              .name = name,
                              .arguments = std::move(arguments),
                              .log_file = plan_.LogFile(name),
                              .inherited_descriptor = inherited_descriptor});
  }

  // Until the process `name` has told its address.
  absl::StatusOr<std::string> WaitForEndpoint(const std::string& name) {
    while (true) {
      absl::StatusOr<std::string> endpoint = ReadEndpointFile(plan_.EndpointFile(name));
      if (!absl::IsNotFound(endpoint.status())) return endpoint;
      Tick();
      if (!supervisor_.failure().ok()) return supervisor_.failure();
      if (is_stopping_ || supervisor_.is_ending())
        return absl::CancelledError("stopped before training began; nothing was lost");
    }
  }

  // Waits a moment for a signal, then looks at the processes and the learner's news.
  void Tick() {
    if (signal_.Wait(kTick)) HandleSignal();
    for (const std::string& event : supervisor_.Poll()) display_.Say(event);
    targets_.Refresh(MonotonicNow());
    if (!watch_) return;
    if (const std::optional<v1::Status> status = watch_->Take()) display_.Show(*status);
    if (watch_->ShutdownFailed()) supervisor_.Signal(ProcessRole::kLearner, SIGTERM);
  }

  void HandleSignal() {
    if (is_stopping_) {
      is_killed_ = true;
      supervisor_.EndRun();
      for (ProcessRole role : {ProcessRole::kLearner, ProcessRole::kRank, ProcessRole::kActor, ProcessRole::kRewardServer})
        supervisor_.Signal(role, SIGKILL);
      return;
    }
    is_stopping_ = true;
    if (watch_) {
      display_.Say("stopping: the learner saves the run (Ctrl-C again, a second later or more, kills it)");
      watch_->RequestShutdown();
    } else {
      supervisor_.EndRun();
    }
  }

  // A learner that lives on after the run's end (another process failed for good) saves and ends.
  void FinishLearner() {
    supervisor_.EndRun();
    supervisor_.Signal(ProcessRole::kLearner, SIGTERM);
    while (supervisor_.IsRunning(ProcessRole::kLearner)) Tick();
  }

  void StopOthers() {
    const absl::Time deadline = MonotonicNow() + kStopGrace, ranks_deadline = MonotonicNow() + kRankGrace;
    constexpr ProcessRole kOthers[] = {ProcessRole::kRank, ProcessRole::kActor, ProcessRole::kRewardServer};
    for (ProcessRole role : kOthers) supervisor_.Signal(role, SIGTERM);
    const auto is_running = [&] {
      return std::any_of(std::begin(kOthers), std::end(kOthers), [this](auto role) { return supervisor_.IsRunning(role); });
    };
    while (is_running() && MonotonicNow() < deadline) {  // the supervisor's destructor kills the rest
      Tick();
      if (MonotonicNow() >= ranks_deadline) supervisor_.Signal(ProcessRole::kRank, SIGKILL);
    }
  }

  const RunPlan& plan_;
  const FolderLock& lock_;
  ShutdownSignal& signal_;
  ProgressDisplay display_;
  Supervisor supervisor_;
  PrometheusTargetsFile targets_;
  std::unique_ptr<LearnerWatch> watch_;  // after the learner told its address
  bool is_stopping_ = false;             // by the user
  bool is_killed_ = false;
};

}  // namespace

RunOutcome RunProcesses(const RunPlan& plan, const FolderLock& lock, ShutdownSignal& signal) {
  return RunSession(plan, lock, signal).Run();
}

}  // namespace flowawr
