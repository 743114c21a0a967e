// The Rollout service: a thin adapter from gRPC to the Desk.
#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "flowawr/v1/rollout.grpc.pb.h"
#include "learner/desk.h"

namespace flowawr {

class RolloutService final : public v1::Rollout::Service {
 public:
  struct Options {
    std::string run_id;
    v1::RunConfig config;
    std::string model_fingerprint;
    absl::Duration heartbeat;  // how often actors send one; less than Desk::kGone
  };
  // `desk` must outlive the service.
  RolloutService(Options options, Desk* desk) : options_(std::move(options)), desk_(*desk) {}

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest*, v1::RegisterResponse*) override;
  grpc::Status AcquireLease(grpc::ServerContext*, const v1::AcquireLeaseRequest*, v1::AcquireLeaseResponse*) override;
  grpc::Status RenewLeases(grpc::ServerContext*, const v1::RenewLeasesRequest*, v1::RenewLeasesResponse*) override;
  grpc::Status FailLease(grpc::ServerContext*, const v1::FailLeaseRequest*, v1::FailLeaseResponse*) override;
  grpc::Status SubmitGroup(grpc::ServerContext*, grpc::ServerReader<v1::SubmitGroupRequest>*,
                           v1::SubmitGroupResponse*) override;

 private:
  // OK for the session that registered under that id.
  absl::Status CheckCaller(const std::string& actor_id, const std::string& session) const;

  const Options options_;
  Desk& desk_;
};

}  // namespace flowawr
