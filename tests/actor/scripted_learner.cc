#include "tests/actor/scripted_learner.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "common/rpc/blob_stream.h"
#include "common/rpc/status.h"

namespace flowawr {
namespace {

// Calls that wait on the server's side look this often whether the client has hung up.
constexpr absl::Duration kHangUpCheck = absl::Milliseconds(20);

std::unique_ptr<RpcServer> StartServer(const std::string& listen, const std::vector<grpc::Service*>& services) {
  auto server = RpcServer::Start({.listen = listen}, services);
  EXPECT_TRUE(server.ok()) << server.status();
  return std::move(server).value();
}

}  // namespace

void ScriptedLearner::AddPolicy(uint64_t version, const std::string& bytes, const v1::PolicyHeader& header) {
  absl::MutexLock lock(&mutex_);
  policies_[version] = {header, bytes};
}

void ScriptedLearner::AddLease(const v1::Lease& lease) {
  absl::MutexLock lock(&mutex_);
  leases_.push_back(lease);
  ++leases_added_;
}

void ScriptedLearner::DropLeases() {
  absl::MutexLock lock(&mutex_);
  drops_ = true;
}

void ScriptedLearner::FinishOnceSettled() {
  absl::MutexLock lock(&mutex_);
  finishes_ = true;
}

void ScriptedLearner::RefuseModel() {
  absl::MutexLock lock(&mutex_);
  refuses_model_ = true;
}

void ScriptedLearner::KeepModelWaiting() {
  absl::MutexLock lock(&mutex_);
  keeps_model_waiting_ = true;
}

void ScriptedLearner::Forget() {
  absl::MutexLock lock(&mutex_);
  forgot_ = true;
}

void ScriptedLearner::RefuseAdoption() {
  absl::MutexLock lock(&mutex_);
  refuses_adoption_ = true;
}

void ScriptedLearner::FailNextSubmit(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  submit_failures_.push_back(std::move(status));
}

void ScriptedLearner::Start(const std::string& listen) {
  server_ =
      StartServer(listen, {static_cast<v1::Rollout::Service*>(this), static_cast<v1::PolicyStore::Service*>(this)});
}

void ScriptedLearner::Shutdown() {
  {
    absl::MutexLock lock(&mutex_);
    is_down_ = true;
  }
  server_->Shutdown(absl::ZeroDuration());
}

bool ScriptedLearner::WaitFor(absl::FunctionRef<bool(const LearnerLog&)> done) {
  struct Waiter {
    absl::FunctionRef<bool(const LearnerLog&)> done;
    const LearnerLog& log;
    static bool IsDone(Waiter* waiter) { return waiter->done(waiter->log); }
  };
  absl::MutexLock lock(&mutex_);
  Waiter waiter{done, log_};
  return mutex_.AwaitWithTimeout(absl::Condition(&Waiter::IsDone, &waiter), absl::Minutes(1));
}

LearnerLog ScriptedLearner::log() {
  absl::MutexLock lock(&mutex_);
  return log_;
}

bool ScriptedLearner::IsFinished() const {
  return finishes_ && log_.groups.size() + log_.failures.size() >= leases_added_;
}

grpc::Status ScriptedLearner::Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                                       v1::RegisterResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (!request->model_parts().empty() && refuses_model_)
    return ToGrpc(absl::FailedPreconditionError("another model: vae differs"));
  if (!request->model_parts().empty() && keeps_model_waiting_) return ToGrpc(absl::UnavailableError("scripted"));
  log_.registrations.emplace_back(request->model_parts().begin(), request->model_parts().end());
  forgot_ = false;
  response->set_run_finished(IsFinished());
  *response->mutable_config() = config_;
  response->set_heartbeat_s(0.05);
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::AcquireLease(grpc::ServerContext* context, const v1::AcquireLeaseRequest* request,
                                           v1::AcquireLeaseResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (log_.registrations.empty()) return ToGrpc(absl::NotFoundError("register first"));
  for (absl::Duration left = absl::Seconds(request->wait_s()); left > absl::ZeroDuration(); left -= kHangUpCheck) {
    if (mutex_.AwaitWithTimeout(absl::Condition(this, &ScriptedLearner::HasAnswer), kHangUpCheck)) break;
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
  }
  if (is_down_) return ToGrpc(absl::UnavailableError("going down"));
  response->set_run_finished(IsFinished());
  if (leases_.empty()) return grpc::Status::OK;
  *response->mutable_lease() = leases_.front();
  leases_.pop_front();
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::RenewLeases(grpc::ServerContext*, const v1::RenewLeasesRequest* request,
                                          v1::RenewLeasesResponse* response) {
  absl::MutexLock lock(&mutex_);
  ++log_.heartbeats;
  if (forgot_) return ToGrpc(absl::FailedPreconditionError("scripted: no such actor"));
  if (drops_) *response->mutable_dropped() = request->leases();
  response->set_run_finished(IsFinished());
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::FailLease(grpc::ServerContext*, const v1::FailLeaseRequest* request,
                                        v1::FailLeaseResponse*) {
  absl::MutexLock lock(&mutex_);
  log_.failures.push_back(*request);
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::Leave(grpc::ServerContext*, const v1::LeaveRequest*, v1::LeaveResponse*) {
  absl::MutexLock lock(&mutex_);
  ++log_.goodbyes;
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::SubmitGroup(grpc::ServerContext*, grpc::ServerReader<v1::SubmitGroupRequest>* reader,
                                          v1::SubmitGroupResponse*) {
  v1::SubmitGroupRequest part;
  LearnerLog::Group group;
  if (!reader->Read(&part) || !part.has_header()) return ToGrpc(absl::InvalidArgumentError("no header"));
  group.header = part.header();
  auto blob = BlobAssembler::Create(group.header.blob(), uint64_t{64} << 20);
  if (!blob.ok()) return ToGrpc(blob.status());
  while (reader->Read(&part)) {
    if (absl::Status status = blob->Add(part.chunk()); !status.ok()) return ToGrpc(status);
  }
  auto bytes = blob->Finish();
  if (!bytes.ok()) return ToGrpc(bytes.status());
  group.blob = *std::move(bytes);
  absl::MutexLock lock(&mutex_);
  ++log_.submits;
  if (!submit_failures_.empty()) {
    const absl::Status status = submit_failures_.front();
    submit_failures_.pop_front();
    return ToGrpc(status);
  }
  log_.groups.push_back(std::move(group));
  return grpc::Status::OK;
}

grpc::Status ScriptedLearner::WatchPolicy(grpc::ServerContext* context, const v1::WatchPolicyRequest*,
                                          grpc::ServerWriter<v1::PolicyVersion>* writer) {
  absl::MutexLock lock(&mutex_);
  if (!policies_.empty()) writer->Write(policies_.rbegin()->second.header.policy());
  while (!mutex_.AwaitWithTimeout(absl::Condition(&is_down_), kHangUpCheck)) {
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
  }
  return ToGrpc(absl::UnavailableError("going down"));
}

grpc::Status ScriptedLearner::FetchPolicy(grpc::ServerContext*, const v1::FetchPolicyRequest* request,
                                          grpc::ServerWriter<v1::FetchPolicyResponse>* writer) {
  Policy policy;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = policies_.find(request->version());
    if (found == policies_.end()) return ToGrpc(absl::NotFoundError("no such version"));
    policy = found->second;
  }
  v1::FetchPolicyResponse part;
  *part.mutable_header() = policy.header;
  writer->Write(part);
  return ToGrpc(SendBlob(policy.bytes, [writer](v1::BlobChunk&& chunk) {
    v1::FetchPolicyResponse response;
    *response.mutable_chunk() = std::move(chunk);
    return writer->Write(response);
  }));
}

grpc::Status ScriptedLearner::ReportAdoption(grpc::ServerContext*, const v1::ReportAdoptionRequest* request,
                                             v1::ReportAdoptionResponse*) {
  absl::MutexLock lock(&mutex_);
  log_.adoptions.push_back(*request);
  if (refuses_adoption_) return ToGrpc(absl::FailedPreconditionError("not the bytes that were published"));
  return grpc::Status::OK;
}

BrightnessServer::BrightnessServer() : server_(StartServer("127.0.0.1:0", {this})) {}

BrightnessServer::~BrightnessServer() { server_->Shutdown(absl::ZeroDuration()); }

void BrightnessServer::Fail(v1::ScoreError::Kind kind) {
  absl::MutexLock lock(&mutex_);
  failure_ = kind;
}

void BrightnessServer::Hold() {
  absl::MutexLock lock(&mutex_);
  holds_ = true;
}

bool BrightnessServer::WaitUntilHolding() {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(
                                     +[](int* held) { return *held > 0; }, &held_calls_),
                                 absl::Minutes(1));
}

bool BrightnessServer::WaitUntilCancelled() {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(
                                     +[](int* held) { return *held == 0; }, &held_calls_),
                                 absl::Minutes(1));
}

grpc::Status BrightnessServer::Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                                     v1::ScoreResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (holds_) {
    ++held_calls_;
    const bool never = false;
    while (!context->IsCancelled()) mutex_.AwaitWithTimeout(absl::Condition(&never), kHangUpCheck);
    --held_calls_;
    return grpc::Status::CANCELLED;
  }
  for (const v1::ScoreItem& item : request->items()) {
    v1::ScoreResult& result = *response->add_results();
    if (failure_ != v1::ScoreError::KIND_UNSPECIFIED) {
      result.mutable_error()->set_kind(failure_);
      result.mutable_error()->set_message("scripted");
      continue;
    }
    double sum = 0;
    for (const char byte : item.image_rgb()) sum += static_cast<unsigned char>(byte);
    result.set_reward(sum / (255.0 * item.image_rgb().size()));
  }
  return grpc::Status::OK;
}

}  // namespace flowawr
