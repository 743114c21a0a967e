// The PolicyStore service: a thin adapter from gRPC to the Desk. Watches end when the desk stops.
#pragma once

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

 private:
  Desk& desk_;
};

}  // namespace flowawr
