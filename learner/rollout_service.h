// The Rollout service: a thin adapter from gRPC to the LeaseDesk. No call holds a thread while it waits or streams.
#pragma once

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/rpc/idle_watch.h"
#include "flowawr/v1/rollout.grpc.pb.h"
#include "learner/device_mix.h"
#include "learner/fan_out.h"
#include "learner/lease_desk.h"
#include "learner/run_model.h"
#include "learner/submission_budget.h"

namespace flowawr {

class RolloutService final : public v1::Rollout::CallbackService {
 public:
  struct Options {
    std::string run_id;
    v1::RunConfig config;
    std::string instruction_set;  // of the learner's processor
    absl::Duration heartbeat;  // how often actors send one; less than ActorBook::kGone
    SubmissionBudget::Limits submissions = {};
  };
  // All must outlive the service; `idle` ends streams on which nothing comes.
  RolloutService(Options options, RunModel* model, LeaseDesk* leases, FanOut* fan_out, IdleWatch* idle);

  grpc::ServerUnaryReactor* Register(grpc::CallbackServerContext*, const v1::RegisterRequest*,
                                     v1::RegisterResponse*) override;
  grpc::ServerUnaryReactor* AcquireLease(grpc::CallbackServerContext*, const v1::AcquireLeaseRequest*,
                                         v1::AcquireLeaseResponse*) override;
  grpc::ServerUnaryReactor* RenewLeases(grpc::CallbackServerContext*, const v1::RenewLeasesRequest*,
                                        v1::RenewLeasesResponse*) override;
  grpc::ServerUnaryReactor* FailLease(grpc::CallbackServerContext*, const v1::FailLeaseRequest*,
                                      v1::FailLeaseResponse*) override;
  grpc::ServerReadReactor<v1::SubmitGroupRequest>* SubmitGroup(grpc::CallbackServerContext*,
                                                               v1::SubmitGroupResponse*) override;
  grpc::ServerUnaryReactor* Leave(grpc::CallbackServerContext*, const v1::LeaveRequest*, v1::LeaveResponse*) override;

 private:
  absl::Status CheckModel(const v1::RegisterRequest& request);

  const Options options_;
  RunModel& model_;
  LeaseDesk& leases_;
  FanOut& fan_out_;
  IdleWatch& idle_;
  SubmissionBudget budget_;
  DeviceMix devices_;
};

}  // namespace flowawr
