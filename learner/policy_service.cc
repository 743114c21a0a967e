#include "learner/policy_service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/status.h"
#include "learner/caller.h"
#include "learner/cancellable_wait.h"

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

// Writes header and chunks, one after the other, from a version that lives as long as the call.
class Fetch final : public grpc::ServerWriteReactor<v1::FetchPolicyResponse> {
 public:
  Fetch(std::shared_ptr<const StoredPolicy> stored, IdleWatch& idle, grpc::CallbackServerContext& context)
      : stored_(std::move(stored)), idle_(idle, context) {
    *part_.mutable_header() = stored_->header;
    Write();
  }

  void OnWriteDone(bool ok) override {
    idle_.End();
    if (!ok) return Finish(ToGrpc(absl::CancelledError("the actor closed the stream")));
    if (offset_ == stored_->bytes.size()) return Finish(grpc::Status::OK);
    *part_.mutable_chunk() = ChunkAt(stored_->bytes, offset_);
    offset_ += part_.chunk().data().size();
    Write();
  }
  void OnDone() override { delete this; }

 private:
  void Write() {
    idle_.Begin();
    StartWrite(&part_);
  }

  const std::shared_ptr<const StoredPolicy> stored_;
  IdleWatch::Call idle_;
  v1::FetchPolicyResponse part_;
  uint64_t offset_ = 0;
};

class NotKept final : public grpc::ServerWriteReactor<v1::FetchPolicyResponse> {
 public:
  explicit NotKept(uint64_t version) {
    Finish(ToGrpc(absl::NotFoundError(absl::StrCat("policy version ", version, " is not kept"))));
  }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<v1::PolicyVersion>* PolicyService::WatchPolicy(grpc::CallbackServerContext* context,
                                                                        const v1::WatchPolicyRequest* request) {
  return new Watch(policies_, leases_, idle_, *context, *request);
}

grpc::ServerWriteReactor<v1::FetchPolicyResponse>* PolicyService::FetchPolicy(grpc::CallbackServerContext* context,
                                                                              const v1::FetchPolicyRequest* request) {
  std::shared_ptr<const StoredPolicy> stored = policies_.Find(request->version());
  if (stored == nullptr) return new NotKept(request->version());
  return new Fetch(std::move(stored), idle_, *context);
}

grpc::ServerUnaryReactor* PolicyService::ReportAdoption(grpc::CallbackServerContext* context,
                                                        const v1::ReportAdoptionRequest* request,
                                                        v1::ReportAdoptionResponse*) {
  absl::Status status = CheckCaller(leases_, request->actor_id(), request->session());
  if (status.ok()) status = leases_.ReportAdoption(*request);
  return FinishedCall(context, status);
}

}  // namespace flowawr
