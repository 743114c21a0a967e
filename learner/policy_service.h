// The PolicyStore service: a thin adapter from gRPC to the PolicyShelf. No call holds a thread; watches end when the
// shelf stops. That a watch ended, and what an actor adopted, is the LeaseDesk's to know.
#pragma once

#include "common/rpc/idle_watch.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "learner/lease_desk.h"
#include "learner/policy_shelf.h"

namespace flowawr {

class PolicyService final : public v1::PolicyStore::CallbackService {
 public:
  // All must outlive the service; `idle` ends calls of actors that do not read.
  PolicyService(PolicyShelf* policies, LeaseDesk* leases, IdleWatch* idle)
      : policies_(*policies), leases_(*leases), idle_(*idle) {}

  grpc::ServerWriteReactor<v1::PolicyVersion>* WatchPolicy(grpc::CallbackServerContext*,
                                                           const v1::WatchPolicyRequest*) override;
  grpc::ServerWriteReactor<v1::FetchPolicyResponse>* FetchPolicy(grpc::CallbackServerContext*,
                                                                 const v1::FetchPolicyRequest*) override;
  grpc::ServerUnaryReactor* ReportAdoption(grpc::CallbackServerContext*, const v1::ReportAdoptionRequest*,
                                           v1::ReportAdoptionResponse*) override;

 private:
  PolicyShelf& policies_;
  LeaseDesk& leases_;
  IdleWatch& idle_;
};

}  // namespace flowawr
