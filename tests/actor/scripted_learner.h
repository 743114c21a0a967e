// The learner's side of the two services an actor uses, scripted by a test and served over real gRPC, and a reward
// server whose reward is the mean brightness. Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/server.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "flowawr/v1/rollout.grpc.pb.h"

namespace flowawr {

// What the actors did.
struct LearnerLog {
  struct Group {
    v1::GroupHeader header;
    std::string blob;
  };
  std::vector<std::map<std::string, std::string>> registrations;  // the model's parts of each
  int goodbyes = 0;
  int heartbeats = 0;
  std::vector<v1::ReportAdoptionRequest> adoptions;
  std::vector<Group> groups;  // accepted
  std::vector<v1::FailLeaseRequest> failures;
  int submits = 0;  // with those refused
};

class ScriptedLearner final : public v1::Rollout::Service, public v1::PolicyStore::Service {
 public:
  explicit ScriptedLearner(v1::RunConfig config) : config_(std::move(config)) {}

  // The script. Before Start() or at any time after it.
  void AddPolicy(uint64_t version, const std::string& bytes, const v1::PolicyHeader& header);
  void AddLease(const v1::Lease& lease);
  void DropLeases();         // answers every heartbeat with all its leases
  void FinishOnceSettled();  // the run ends when every lease was delivered or failed
  void RefuseModel();
  void KeepModelWaiting();  // answers a registration with a model that it cannot take it just now
  void Forget();            // answers the next heartbeats, up to the next registration, that it knows no such actor
  void RefuseAdoption();
  void FailNextSubmit(absl::Status status);

  // `listen`: 127.0.0.1:0, or the address of a learner that was shut down.
  void Start(const std::string& listen = "127.0.0.1:0");
  void Shutdown();
  const std::string& endpoint() const { return server_->endpoint(); }

  // Waits until the log satisfies `done`; false after a minute.
  bool WaitFor(absl::FunctionRef<bool(const LearnerLog&)> done);
  LearnerLog log();

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest*, v1::RegisterResponse*) override;
  grpc::Status AcquireLease(grpc::ServerContext*, const v1::AcquireLeaseRequest*, v1::AcquireLeaseResponse*) override;
  grpc::Status RenewLeases(grpc::ServerContext*, const v1::RenewLeasesRequest*, v1::RenewLeasesResponse*) override;
  grpc::Status FailLease(grpc::ServerContext*, const v1::FailLeaseRequest*, v1::FailLeaseResponse*) override;
  grpc::Status Leave(grpc::ServerContext*, const v1::LeaveRequest*, v1::LeaveResponse*) override;
  grpc::Status SubmitGroup(grpc::ServerContext*, grpc::ServerReader<v1::SubmitGroupRequest>*,
                           v1::SubmitGroupResponse*) override;
  grpc::Status WatchPolicy(grpc::ServerContext*, const v1::WatchPolicyRequest*,
                           grpc::ServerWriter<v1::PolicyVersion>*) override;
  grpc::Status FetchPolicy(grpc::ServerContext*, const v1::FetchPolicyRequest*,
                           grpc::ServerWriter<v1::FetchPolicyResponse>*) override;
  grpc::Status ReportAdoption(grpc::ServerContext*, const v1::ReportAdoptionRequest*,
                              v1::ReportAdoptionResponse*) override;

 private:
  struct Policy {
    v1::PolicyHeader header;
    std::string bytes;
  };
  bool IsFinished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasAnswer() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !leases_.empty() || IsFinished() || is_down_ || forgot_;
  }

  const v1::RunConfig config_;
  std::unique_ptr<RpcServer> server_;
  absl::Mutex mutex_;
  std::map<uint64_t, Policy> policies_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::Lease> leases_ ABSL_GUARDED_BY(mutex_);
  size_t leases_added_ ABSL_GUARDED_BY(mutex_) = 0;
  bool drops_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishes_ ABSL_GUARDED_BY(mutex_) = false;
  bool refuses_model_ ABSL_GUARDED_BY(mutex_) = false;
  bool keeps_model_waiting_ ABSL_GUARDED_BY(mutex_) = false;
  bool forgot_ ABSL_GUARDED_BY(mutex_) = false;
  bool refuses_adoption_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_down_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<absl::Status> submit_failures_ ABSL_GUARDED_BY(mutex_);
  LearnerLog log_ ABSL_GUARDED_BY(mutex_);
};

class BrightnessServer final : public v1::RewardService::Service {
 public:
  BrightnessServer();
  ~BrightnessServer() override;
  const std::string& endpoint() const { return server_->endpoint(); }

  // From now on every image gets this error.
  void Fail(v1::ScoreError::Kind kind);
  // From now on calls wait until they are cancelled.
  void Hold();
  bool WaitUntilHolding();
  bool WaitUntilCancelled();

  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest*, v1::ScoreResponse*) override;

 private:
  std::unique_ptr<RpcServer> server_;
  absl::Mutex mutex_;
  v1::ScoreError::Kind failure_ ABSL_GUARDED_BY(mutex_) = v1::ScoreError::KIND_UNSPECIFIED;
  bool holds_ ABSL_GUARDED_BY(mutex_) = false;
  int held_calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flowawr
