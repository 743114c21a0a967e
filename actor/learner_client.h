// Every RPC that an actor makes to the learner, as functions from messages to statuses, each with a deadline.
//
// No retry in here: what to do after an error is decided in recovery.h. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "actor/policy_buffer.h"
#include "common/sd3/component_fingerprints.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "flowawr/v1/rollout.grpc.pb.h"

namespace flowawr {

class LearnerClient {
 public:
  static absl::StatusOr<std::unique_ptr<LearnerClient>> Create(const std::string& endpoint,
                                                               const v1::NetworkConfig& network,
                                                               const std::string& actor_id);

  const std::string& actor_id() const { return actor_id_; }
  const std::string& session() const { return session_; }

  // Without parts it asks for the configuration only.
  absl::StatusOr<v1::RegisterResponse> Register(const ComponentFingerprints& model);
  absl::StatusOr<v1::AcquireLeaseResponse> AcquireLease(absl::Duration wait);
  absl::StatusOr<v1::RenewLeasesResponse> RenewLeases(const std::vector<v1::LeaseRef>& leases,
                                                      const std::map<std::string, double>& stage_seconds);
  // `is_handed_back`: nothing failed, so that this is no failed attempt of the lease.
  absl::Status FailLease(const v1::LeaseRef& lease, const std::string& cause, const std::string& message,
                         bool is_handed_back = false);

  // This process ends. A learner of an older release does not know the call.
  absl::Status Leave();

  // ALREADY_EXISTS when the group was accepted before.
  absl::Status SubmitGroup(const v1::GroupHeader& header, absl::string_view blob);

  // Refuses blobs above `max_bytes` before allocating.
  absl::StatusOr<FetchedPolicy> FetchPolicy(uint64_t version, uint64_t max_bytes);
  absl::Status ReportAdoption(const v1::PolicyVersion& policy, int64_t bound_modules);
  // Calls `on_version` for each message until the stream ends; returns why it did.
  absl::Status WatchPolicy(absl::FunctionRef<void(const v1::PolicyVersion&)> on_version);

  // Ends, now and from now on, the RPCs that wait or fetch: Register, AcquireLease, FetchPolicy, WatchPolicy.
  // They return Cancelled. Submitting, renewing, failing and leaving still work, so that leases can be handed back.
  void CancelWaits();

 private:
  // A context that CancelWaits() reaches while this lives.
  class CancellableContext;

  LearnerClient(std::shared_ptr<grpc::Channel> channel, v1::NetworkConfig network, std::string actor_id);
  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) const;

  const v1::NetworkConfig network_;
  const std::string actor_id_;
  const std::string session_;  // of this process: see RegisterRequest.session
  const std::unique_ptr<v1::Rollout::Stub> rollout_;
  const std::unique_ptr<v1::PolicyStore::Stub> policies_;

  mutable absl::Mutex mutex_;
  // Of the run that the first registration told: from then on no other one at this address gets a call.
  std::string run_identity_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
