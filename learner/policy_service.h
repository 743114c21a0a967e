// The PolicyStore service: a thin adapter from gRPC to the PolicyShelf. No call holds a thread; watches end when the
// shelf stops. That a watch ended, and what an actor adopted, is the LeaseDesk's to know; who may get a version from
// another actor, the FanOut's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/rpc/idle_watch.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "learner/fan_out.h"
#include "learner/lease_desk.h"
#include "learner/policy_shelf.h"

namespace flowawr {

class PolicyService final : public v1::PolicyStore::WithCallbackMethod_WatchPolicy<
                                v1::PolicyStore::WithCallbackMethod_ReportAdoption<v1::PolicyStore::Service>> {
 public:
  // All must outlive the service; `idle` ends calls of actors that do not read.
  PolicyService(PolicyShelf* policies, LeaseDesk* leases, FanOut* fan_out, IdleWatch* idle);

  grpc::ServerWriteReactor<v1::PolicyVersion>* WatchPolicy(grpc::CallbackServerContext*,
                                                           const v1::WatchPolicyRequest*) override;
  grpc::ServerUnaryReactor* ReportAdoption(grpc::CallbackServerContext*, const v1::ReportAdoptionRequest*,
                                           v1::ReportAdoptionResponse*) override;

 private:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchPolicy(grpc::CallbackServerContext* context,
                                                          const v1::FetchPolicyRequest& request);
  // `copy`: as FanOut::CopyEnded().
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Copy(std::shared_ptr<const StoredPolicy> stored,
                                                   const std::string& actor_id, uint64_t copy,
                                                   grpc::CallbackServerContext& context);

  PolicyShelf& policies_;
  LeaseDesk& leases_;
  FanOut& fan_out_;
  IdleWatch& idle_;
};

}  // namespace flowawr
