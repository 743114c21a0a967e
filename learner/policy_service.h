// The PolicyStore service: a thin adapter from gRPC to the Desk. No call holds a thread; watches end when the desk
// stops.
#pragma once

#include "common/rpc/idle_watch.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "learner/desk.h"

namespace flowawr {

class PolicyService final : public v1::PolicyStore::CallbackService {
 public:
  // Both must outlive the service; `idle` ends calls of actors that do not read.
  PolicyService(Desk* desk, IdleWatch* idle) : desk_(*desk), idle_(*idle) {}

  grpc::ServerWriteReactor<v1::PolicyVersion>* WatchPolicy(grpc::CallbackServerContext*,
                                                           const v1::WatchPolicyRequest*) override;
  grpc::ServerWriteReactor<v1::FetchPolicyResponse>* FetchPolicy(grpc::CallbackServerContext*,
                                                                 const v1::FetchPolicyRequest*) override;
  grpc::ServerUnaryReactor* ReportAdoption(grpc::CallbackServerContext*, const v1::ReportAdoptionRequest*,
                                           v1::ReportAdoptionResponse*) override;

 private:
  Desk& desk_;
  IdleWatch& idle_;
};

}  // namespace flowawr
