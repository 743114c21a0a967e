// The PolicyStore service: a thin adapter from gRPC to the Desk.
#pragma once

#include <atomic>

#include "flowawr/v1/policy.grpc.pb.h"
#include "learner/desk.h"

namespace flowawr {

class PolicyService final : public v1::PolicyStore::Service {
 public:
  // `desk` must outlive the service.
  explicit PolicyService(Desk* desk) : desk_(*desk) {}

  grpc::Status WatchPolicy(grpc::ServerContext*, const v1::WatchPolicyRequest*,
                           grpc::ServerWriter<v1::PolicyVersion>*) override;
  grpc::Status FetchPolicy(grpc::ServerContext*, const v1::FetchPolicyRequest*,
                           grpc::ServerWriter<v1::FetchPolicyResponse>*) override;
  grpc::Status ReportAdoption(grpc::ServerContext*, const v1::ReportAdoptionRequest*,
                              v1::ReportAdoptionResponse*) override;

  // Ends the watches, so that the server can shut down.
  void Stop() { is_stopping_ = true; }

 private:
  Desk& desk_;
  std::atomic<bool> is_stopping_ = false;
};

}  // namespace flowawr
