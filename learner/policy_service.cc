#include "learner/policy_service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/policy_stream.h"
#include "common/rpc/status.h"
#include "learner/caller.h"
#include "learner/cancellable_wait.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

// Waits for a version, writes it, waits for the next.
class Watch final : public grpc::ServerWriteReactor<v1::PolicyVersion> {
 public:
  Watch(PolicyShelf& policies, LeaseDesk& leases, IdleWatch& idle, grpc::CallbackServerContext& context,
        const v1::WatchPolicyRequest& request)
      : policies_(policies),
        leases_(leases),
        actor_id_(request.actor_id()),
        watch_(leases.BeginWatch(request.actor_id(), request.session())),
        idle_(idle, context),
        wait_(std::make_shared<CancellableWait<PolicyShelf>>(policies)) {
    Await();
  }

  void OnWriteDone(bool ok) override {
    idle_.End();
    if (!ok) return Finish(grpc::Status::CANCELLED);
    Await();
  }
  void OnCancel() override { wait_->Cancel(); }
  void OnDone() override {
    leases_.EndWatch(actor_id_, watch_);
    delete this;
  }

 private:
  void Await() {
    const std::shared_ptr<CancellableWait<PolicyShelf>> wait = wait_;
    wait->Begun(policies_.AwaitBehaviour(written_.version(), [this](auto newest) { OnNewest(std::move(newest)); }));
  }

  void OnNewest(absl::StatusOr<std::shared_ptr<const StoredPolicy>> newest) {
    if (!newest.ok()) return Finish(ToGrpc(newest.status()));
    if (*newest == nullptr) return Finish(grpc::Status::OK);
    written_ = (*newest)->header.policy();
    idle_.Begin();
    StartWrite(&written_);
  }

  PolicyShelf& policies_;
  LeaseDesk& leases_;
  const std::string actor_id_;
  const ActorBook::WatchId watch_;
  IdleWatch::Call idle_;
  const std::shared_ptr<CancellableWait<PolicyShelf>> wait_;
  v1::PolicyVersion written_;
};

}  // namespace

PolicyService::PolicyService(PolicyShelf* policies, LeaseDesk* leases, FanOut* fan_out, IdleWatch* idle)
    : policies_(*policies), leases_(*leases), fan_out_(*fan_out), idle_(*idle) {
  MarkMethodRawCallback(MethodIndex("PolicyStore", "FetchPolicy"),
                        new PolicyStreamHandler<v1::FetchPolicyRequest>(
                            [this](grpc::CallbackServerContext* context, const v1::FetchPolicyRequest* request) {
                              return FetchPolicy(context, *request);
                            }));
}

grpc::ServerWriteReactor<v1::PolicyVersion>* PolicyService::WatchPolicy(grpc::CallbackServerContext* context,
                                                                        const v1::WatchPolicyRequest* request) {
  return new Watch(policies_, leases_, idle_, *context, *request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* PolicyService::FetchPolicy(grpc::CallbackServerContext* context,
                                                                       const v1::FetchPolicyRequest& request) {
  std::shared_ptr<const StoredPolicy> stored = policies_.Find(request.version());
  if (stored == nullptr)
    return new PolicyAnswerStream(
        absl::NotFoundError(absl::StrCat("policy version ", request.version(), " is not kept")));
  absl::Status known = CheckRequest(request);
  known.Update(CheckCaller(leases_, request.actor_id(), request.session()));
  if (!request.accepts_peer()) {
    if (known.ok()) fan_out_.TakeLearners(request);
    return Copy(std::move(stored), "", 0, *context);
  }
  if (!known.ok()) return new PolicyAnswerStream(known);
  const FanOut::Choice choice = fan_out_.Choose(request);
  if (choice.source.kind == PolicySource::Kind::kLearner)
    return Copy(std::move(stored), request.actor_id(), choice.copy, *context);
  v1::FetchPolicyResponse answer;
  answer.mutable_peer()->set_endpoint(choice.source.endpoint);
  answer.mutable_peer()->set_retry_after_s(absl::ToDoubleSeconds(choice.source.retry_after));
  return new PolicyAnswerStream(answer, idle_, *context);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* PolicyService::Copy(std::shared_ptr<const StoredPolicy> stored,
                                                                const std::string& actor_id, uint64_t copy,
                                                                grpc::CallbackServerContext& context) {
  const StoredPolicy& policy = *stored;
  return new PolicyStream(policy.header, policy.bytes, std::move(stored), idle_, context,
                          [this, actor_id, copy, bytes = policy.bytes.size()](bool is_whole) {
                            fan_out_.CopyEnded(actor_id, copy, bytes, is_whole);
                          });
}

grpc::ServerUnaryReactor* PolicyService::ReportAdoption(grpc::CallbackServerContext* context,
                                                        const v1::ReportAdoptionRequest* request,
                                                        v1::ReportAdoptionResponse*) {
  absl::Status status = CheckCaller(leases_, request->actor_id(), request->session());
  if (status.ok()) status = leases_.ReportAdoption(*request);
  if (const auto adopted = status.ok() ? policies_.Find(request->version()) : nullptr)
    fan_out_.Adopted(request->actor_id(), adopted->header.policy());
  return FinishedCall(context, status);
}

}  // namespace flowawr
