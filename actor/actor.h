// An actor: registers with the learner, loads the model that the run names, and feeds leases to the rollout pipeline
// until the run ends or somebody stops it.
//
// Run()'s thread owns the session: it registers, asks for leases, and registers again after the learner went away, when
// every lease and every policy version of the old session is forgotten. Two more threads live beside the pipeline's:
// the heartbeat, which renews leases and learns which are no longer wanted, and the watch, which adopts a new behaviour
// version as soon as it is published, before the first lease that needs it. The heartbeat begins before the model is
// loaded, so that the learner waits for this actor, and tells it, when the run ends meanwhile.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "actor/actor_metrics.h"
#include "actor/held_leases.h"
#include "actor/held_policies.h"
#include "actor/learner_client.h"
#include "actor/options.h"
#include "actor/peer_client.h"
#include "actor/policy_buffer.h"
#include "actor/policy_fetcher.h"
#include "actor/reward_reach.h"
#include "actor/rollout_pipeline.h"
#include "actor/session.h"
#include "actor/stage_clock.h"
#include "common/base/steady_cond_var.h"

namespace flowawr {

class Actor {
 public:
  // `held`: the adapters that it serves to other actors, as it is told to fetch from them; null: neither. It outlives it.
  Actor(const ActorOptions& options, std::unique_ptr<LearnerClient> learner, ActorMetrics& metrics,
        HeldPolicies* held = nullptr);

  // Call once. OK when the run has finished or Stop() was called. FailedPrecondition when this actor does not fit the
  // run, Unauthenticated or PermissionDenied when it is not let in, Unavailable when the learner stayed away for
  // `give_up_after`; InvalidArgument for a device that this machine does not have; or why the model could not be loaded.
  // An error of the device (common/tensor/device_error.h): the process must end.
  absl::Status Run();

  // From any thread, any number of times: Run() hands its leases back and returns.
  void Stop();

 private:
  // Registers, with the model that is loaded or without one, again and again with growing pauses. Cancelled when
  // stopped.
  absl::StatusOr<v1::RegisterResponse> Register(const ComponentFingerprints& model);
  // Loads the model, registers with it and works, as answered to the registration without it.
  absl::Status Work(const v1::RegisterResponse& registered);
  // After the connection was lost. Stops when the run has finished meanwhile.
  absl::Status RegisterAgain(PolicyBuffer& policies, const ComponentFingerprints& model, const v1::RunConfig& config);
  // Asks for leases until the run has finished.
  absl::Status Lease(RolloutPipeline& pipeline, PolicyBuffer& policies, const ComponentFingerprints& model,
                     const v1::RunConfig& config);
  // A lease whose reward servers cannot be reached from here goes back, as no failed attempt; then pauses.
  void AcceptOrHandBack(RolloutPipeline& pipeline, v1::Lease lease);
  void Heartbeat(absl::Duration interval);
  void Watch(PolicyBuffer& policies);
  PolicyFetcher::Sources Sources();
  // On the metrics page, what `scorer` does from now on; as it is now.
  void ShowScoring(const ScoringClient* scorer);
  void ShowScoring();
  void StopAsFinished();
  // Run() returns the first of these.
  void StopForDevice(const absl::Status& error);
  bool IsStopping() const { return stopping_.HasBeenNotified(); }

  const ActorOptions options_;
  at::Device device_ = at::kCPU;  // set before there is a second thread
  const std::unique_ptr<LearnerClient> learner_;
  ActorMetrics& metrics_;
  HeldPolicies* const held_;
  PeerClient peers_;
  PolicyFetcher fetcher_;
  const PrefetchLimits prefetch_;
  HeldLeases leases_;
  RewardReach rewards_;  // of Run()'s thread
  StageClock stages_;
  absl::Mutex scorer_mutex_;
  const ScoringClient* scorer_ ABSL_GUARDED_BY(scorer_mutex_) = nullptr;  // while the pipeline works
  Session session_;
  absl::Mutex stop_mutex_;
  absl::Status device_error_ ABSL_GUARDED_BY(stop_mutex_);
  SteadyNotification stopping_;
};

}  // namespace flowawr
