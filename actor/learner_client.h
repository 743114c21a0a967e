// Every RPC that an actor makes to the learner, as functions from messages to statuses, each with a deadline.
//
// No retry in here: what to do after an error is decided in recovery.h. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/policy_stream.h"
#include "common/sd3/component_fingerprints.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "flowawr/v1/rollout.grpc.pb.h"

namespace flowawr {

// What the learner answers an actor that accepts another one as its source.
struct PolicyAnswer {
  std::optional<v1::PolicyPeerRef> peer;  // where to get the version, or when to ask again
  FetchedPolicy policy;                   // without `peer`
};

class LearnerClient {
 public:
  // `peer_endpoint`: where this actor serves others, for the learner to name to them; empty: it does not.
  static absl::StatusOr<std::unique_ptr<LearnerClient>> Create(const std::string& endpoint,
                                                               const v1::NetworkConfig& network,
                                                               const std::string& actor_id,
                                                               const std::string& peer_endpoint = "");

  const std::string& actor_id() const { return actor_id_; }
  const std::string& session() const { return session_; }

  // Without parts it asks for the configuration only. `device`: on which this actor samples, as DescribeDevice().
  absl::StatusOr<v1::RegisterResponse> Register(const ComponentFingerprints& model, const std::string& device);
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

  // What the learner gave with the newest registration for fetches among actors, see common/rpc/fetch_ticket.h; empty:
  // nothing.
  std::string fetch_key() const;

  // Refuses blobs above `max_bytes` before allocating. `failed_peers`: those that did not give it.
  absl::StatusOr<FetchedPolicy> FetchPolicy(uint64_t version, uint64_t max_bytes,
                                            const std::vector<std::string>& failed_peers = {});
  // The same, or who else has it.
  absl::StatusOr<PolicyAnswer> FindPolicy(uint64_t version, uint64_t max_bytes,
                                          const std::vector<std::string>& failed_peers);
  absl::Status ReportAdoption(const v1::PolicyVersion& policy, int64_t bound_modules);
  // Calls `on_version` for each message until the stream ends; returns why it did.
  absl::Status WatchPolicy(absl::FunctionRef<void(const v1::PolicyVersion&)> on_version);

  // Ends, now and from now on, the RPCs that wait or fetch: Register, AcquireLease, FetchPolicy, FindPolicy,
  // WatchPolicy. They return Cancelled. Submitting, renewing, failing and leaving still work, so that leases can be handed back.
  void CancelWaits();

 private:
  // A context that CancelWaits() reaches while this lives.
  class CancellableContext;

  LearnerClient(std::shared_ptr<grpc::Channel> channel, v1::NetworkConfig network, std::string actor_id,
                std::string peer_endpoint);
  v1::FetchPolicyRequest RequestOf(uint64_t version, const std::vector<std::string>& failed_peers) const;
  absl::StatusOr<PolicyAnswer> Fetch(const v1::FetchPolicyRequest& request, uint64_t max_bytes);
  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) const;

  const v1::NetworkConfig network_;
  const std::string actor_id_;
  const std::string peer_endpoint_;
  const std::string session_;  // of this process: see RegisterRequest.session
  SpareBytes spare_;             // of the adapters that it fetched
  const std::unique_ptr<v1::Rollout::Stub> rollout_;
  const std::unique_ptr<v1::PolicyStore::Stub> policies_;

  mutable absl::Mutex mutex_;
  // Of the run that the first registration told: from then on no other one at this address gets a call.
  std::string run_identity_ ABSL_GUARDED_BY(mutex_);
  std::string fetch_key_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> waiting_ ABSL_GUARDED_BY(mutex_);
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
