#include "actor/learner_client.h"

#include <optional>
#include <utility>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/nn/instruction_set.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/channel.h"
#include "common/rpc/fetch_ticket.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"

namespace flowawr {
namespace {

constexpr absl::Duration kShortCall = absl::Seconds(10);
constexpr absl::Duration kGoodbye = absl::Seconds(2);
constexpr absl::Duration kTransfer = absl::Minutes(5);
constexpr absl::Duration kWatch = absl::Hours(1);  // then the stream is opened anew

}  // namespace

class LearnerClient::CancellableContext {
 public:
  CancellableContext(LearnerClient& client, absl::Duration deadline)
      : client_(client), context_(client.Context(deadline)) {
    absl::MutexLock lock(&client_.mutex_);
    client_.waiting_.insert(context_.get());
    if (client_.is_cancelled_) context_->TryCancel();
  }
  ~CancellableContext() {
    absl::MutexLock lock(&client_.mutex_);
    client_.waiting_.erase(context_.get());
  }
  CancellableContext(const CancellableContext&) = delete;
  CancellableContext& operator=(const CancellableContext&) = delete;

  grpc::ClientContext* get() { return context_.get(); }

 private:
  LearnerClient& client_;
  const std::unique_ptr<grpc::ClientContext> context_;
};

absl::StatusOr<std::unique_ptr<LearnerClient>> LearnerClient::Create(const std::string& endpoint,
                                                                     const v1::NetworkConfig& network,
                                                                     const std::string& actor_id,
                                                                     const std::string& peer_endpoint) {
  FLOWAWR_ASSIGN_OR_RETURN(auto channel, MakeChannel(endpoint, network));
  return std::unique_ptr<LearnerClient>(new LearnerClient(std::move(channel), network, actor_id, peer_endpoint));
}

LearnerClient::LearnerClient(std::shared_ptr<grpc::Channel> channel, v1::NetworkConfig network, std::string actor_id,
                             std::string peer_endpoint)
    : network_(std::move(network)),
      actor_id_(std::move(actor_id)),
      peer_endpoint_(std::move(peer_endpoint)),
      session_(RandomId(16)),
      rollout_(v1::Rollout::NewStub(channel)),
      policies_(v1::PolicyStore::NewStub(channel)) {}

std::unique_ptr<grpc::ClientContext> LearnerClient::Context(absl::Duration deadline) const {
  std::unique_ptr<grpc::ClientContext> context = MakeContext(deadline, network_);
  absl::MutexLock lock(&mutex_);
  MeantFor(run_identity_, context.get());
  return context;
}

absl::StatusOr<v1::RegisterResponse> LearnerClient::Register(const ComponentFingerprints& model,
                                                             const std::string& device) {
  v1::RegisterRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  request.mutable_model_parts()->insert(model.begin(), model.end());
  request.set_software_version(Version());
  request.set_peer_endpoint(peer_endpoint_);
  request.set_device(device);
  request.set_instruction_set(std::string(kernels::NameOf(kernels::ActiveInstructionSet())));
  v1::RegisterResponse response;
  CancellableContext context(*this, kShortCall);
  FLOWAWR_RETURN_IF_ERROR(FromGrpc(rollout_->Register(context.get(), request, &response)));
  absl::MutexLock lock(&mutex_);
  fetch_key_ = FetchKeyOf(*context.get());
  if (run_identity_.empty() && !response.run_id().empty()) run_identity_ = RunIdentity(response.run_id());
  return response;
}

std::string LearnerClient::fetch_key() const {
  absl::MutexLock lock(&mutex_);
  return fetch_key_;
}

absl::StatusOr<v1::AcquireLeaseResponse> LearnerClient::AcquireLease(absl::Duration wait) {
  v1::AcquireLeaseRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  request.set_wait_s(absl::ToDoubleSeconds(wait));
  v1::AcquireLeaseResponse response;
  CancellableContext context(*this, wait + kShortCall);
  FLOWAWR_RETURN_IF_ERROR(FromGrpc(rollout_->AcquireLease(context.get(), request, &response)));
  return response;
}

absl::StatusOr<v1::RenewLeasesResponse> LearnerClient::RenewLeases(const std::vector<v1::LeaseRef>& leases,
                                                                   const std::map<std::string, double>& stage_seconds) {
  v1::RenewLeasesRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  request.mutable_leases()->Add(leases.begin(), leases.end());
  request.mutable_stage_seconds()->insert(stage_seconds.begin(), stage_seconds.end());
  v1::RenewLeasesResponse response;
  const auto context = Context(kShortCall);
  FLOWAWR_RETURN_IF_ERROR(FromGrpc(rollout_->RenewLeases(context.get(), request, &response)));
  return response;
}

absl::Status LearnerClient::FailLease(const v1::LeaseRef& lease, const std::string& cause, const std::string& message,
                                      bool is_handed_back) {
  v1::FailLeaseRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  *request.mutable_lease() = lease;
  request.set_cause(cause);
  request.set_message(SanitizeUtf8(message));  // it may name a file, by any bytes
  request.set_is_handed_back(is_handed_back);
  v1::FailLeaseResponse response;
  const auto context = Context(kShortCall);
  return FromGrpc(rollout_->FailLease(context.get(), request, &response));
}

absl::Status LearnerClient::Leave() {
  v1::LeaveRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  v1::LeaveResponse response;
  const auto context = Context(kGoodbye);
  return FromGrpc(rollout_->Leave(context.get(), request, &response));
}

absl::Status LearnerClient::SubmitGroup(const v1::GroupHeader& header, absl::string_view blob) {
  v1::SubmitGroupResponse response;
  const auto context = Context(kTransfer);
  const auto stream = rollout_->SubmitGroup(context.get(), &response);
  v1::SubmitGroupRequest first;
  *first.mutable_header() = header;
  first.mutable_header()->set_session(session_);
  if (stream->Write(first)) {
    // A refused write means that the learner ended the call: Finish() says why, better than the write's own error.
    SendBlob(blob, [&stream](v1::BlobChunk&& chunk) {
      v1::SubmitGroupRequest request;
      *request.mutable_chunk() = std::move(chunk);
      return stream->Write(request);
    }).IgnoreError();
    stream->WritesDone();
  }
  return FromGrpc(stream->Finish());
}

v1::FetchPolicyRequest LearnerClient::RequestOf(uint64_t version, const std::vector<std::string>& failed_peers) const {
  v1::FetchPolicyRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  request.set_version(version);
  request.mutable_failed_peers()->Add(failed_peers.begin(), failed_peers.end());
  return request;
}

absl::StatusOr<FetchedPolicy> LearnerClient::FetchPolicy(uint64_t version, uint64_t max_bytes,
                                                         const std::vector<std::string>& failed_peers) {
  FLOWAWR_ASSIGN_OR_RETURN(PolicyAnswer answer, Fetch(RequestOf(version, failed_peers), max_bytes));
  return std::move(answer.policy);
}

absl::StatusOr<PolicyAnswer> LearnerClient::FindPolicy(uint64_t version, uint64_t max_bytes,
                                                       const std::vector<std::string>& failed_peers) {
  v1::FetchPolicyRequest request = RequestOf(version, failed_peers);
  request.set_accepts_peer(true);
  return Fetch(request, max_bytes);
}

absl::StatusOr<PolicyAnswer> LearnerClient::Fetch(const v1::FetchPolicyRequest& request, uint64_t max_bytes) {
  CancellableContext context(*this, kTransfer);
  const auto stream = policies_->FetchPolicy(context.get(), request);
  PolicyAnswer answer;
  PolicyAssembler policy(max_bytes, spare_);
  // Reads to the end or to the first violation; a stream that is left early is cancelled so that Finish() can return.
  auto read = [&]() -> absl::Status {
    v1::FetchPolicyResponse part;
    while (stream->Read(&part)) {
      if (request.accepts_peer() && part.has_peer())
        answer.peer = part.peer();
      else
        FLOWAWR_RETURN_IF_ERROR(policy.Add(part));
    }
    return absl::OkStatus();
  };
  const absl::Status received = read();
  if (!received.ok()) context.get()->TryCancel();
  const grpc::Status finished = stream->Finish();
  FLOWAWR_RETURN_IF_ERROR(received);
  FLOWAWR_RETURN_IF_ERROR(FromGrpc(finished));
  if (answer.peer) return answer;
  FLOWAWR_ASSIGN_OR_RETURN(answer.policy, policy.Finish());
  return answer;
}

absl::Status LearnerClient::ReportAdoption(const v1::PolicyVersion& policy, int64_t bound_modules) {
  v1::ReportAdoptionRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  request.set_version(policy.version());
  request.set_sha256(policy.sha256());
  request.set_bound_modules(bound_modules);
  v1::ReportAdoptionResponse response;
  const auto context = Context(kShortCall);
  return FromGrpc(policies_->ReportAdoption(context.get(), request, &response));
}

absl::Status LearnerClient::WatchPolicy(absl::FunctionRef<void(const v1::PolicyVersion&)> on_version) {
  v1::WatchPolicyRequest request;
  request.set_actor_id(actor_id_);
  request.set_session(session_);
  CancellableContext context(*this, kWatch);
  const auto stream = policies_->WatchPolicy(context.get(), request);
  v1::PolicyVersion policy;
  while (stream->Read(&policy)) on_version(policy);
  return FromGrpc(stream->Finish());
}

void LearnerClient::CancelWaits() {
  absl::MutexLock lock(&mutex_);
  is_cancelled_ = true;
  for (grpc::ClientContext* context : waiting_) context->TryCancel();
}

}  // namespace flowawr
