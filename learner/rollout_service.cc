#include "learner/rollout_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/fetch_ticket.h"
#include "common/rpc/status.h"
#include "learner/caller.h"
#include "learner/cancellable_wait.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

constexpr double kLongestWaitSeconds = 30;

// A lease for an actor that is gone by then goes back at once: nobody else would take it before it expires.
class LeaseCall final : public grpc::ServerUnaryReactor {
 public:
  LeaseCall(LeaseDesk& leases, grpc::CallbackServerContext& context, const v1::AcquireLeaseRequest& request,
            v1::AcquireLeaseResponse& response)
      : leases_(leases),
        context_(context),
        response_(response),
        actor_id_(request.actor_id()),
        wait_(std::make_shared<CancellableWait<LeaseDesk>>(leases)) {
    const double wait_s = std::clamp(request.wait_s(), 0.0, kLongestWaitSeconds);
    const std::shared_ptr<CancellableWait<LeaseDesk>> wait = wait_;
    wait->Begun(leases.Acquire(actor_id_, absl::Seconds(wait_s), [this](auto answer) { OnAnswer(std::move(answer)); }));
  }

  void OnCancel() override { wait_->Cancel(); }
  void OnDone() override {
    if (granted_ && context_.IsCancelled()) HandBack();
    delete this;
  }

 private:
  void OnAnswer(absl::StatusOr<v1::AcquireLeaseResponse> answer) {
    if (!answer.ok()) return Finish(ToGrpc(answer.status()));
    response_ = *std::move(answer);
    if (response_.has_lease()) {
      granted_.emplace();
      granted_->set_group_id(response_.lease().group_id());
      granted_->set_attempt(response_.lease().attempt());
    }
    Finish(grpc::Status::OK);
  }

  void HandBack() {
    v1::FailLeaseRequest request;
    request.set_actor_id(actor_id_);
    *request.mutable_lease() = *granted_;
    request.set_cause("actor_gone");
    request.set_is_handed_back(true);
    leases_.Fail(request).IgnoreError();  // it may have registered anew, which gave the lease back already
  }

  LeaseDesk& leases_;
  grpc::CallbackServerContext& context_;
  v1::AcquireLeaseResponse& response_;
  const std::string actor_id_;
  std::optional<v1::LeaseRef> granted_;
  const std::shared_ptr<CancellableWait<LeaseDesk>> wait_;
};

// Reads header and chunks, one after the other: of each call one message at most is in memory beside its blob.
class Submission final : public grpc::ServerReadReactor<v1::SubmitGroupRequest> {
 public:
  Submission(LeaseDesk& leases, IdleWatch& idle, SubmissionBudget& budget, grpc::CallbackServerContext& context)
      : leases_(leases), budget_(budget), idle_(idle, context) {
    Read();
  }

  void OnReadDone(bool ok) override {
    idle_.End();
    const std::optional<absl::Status> end = ok ? Take() : Finished();
    if (end) {
      // Its memory is free before the actor hears of it and sends the next.
      blob_.reset();
      GiveBack();
      return Finish(ToGrpc(*end));
    }
    Read();
  }
  void OnDone() override {
    GiveBack();
    delete this;
  }

 private:
  void Read() {
    idle_.Begin();
    StartRead(&request_);
  }

  // A message has come. Returns how the call ends, if it does.
  std::optional<absl::Status> Take() {
    const absl::Status taken = header_ ? TakeChunk() : TakeHeader();
    return taken.ok() ? std::nullopt : std::optional(taken);
  }

  absl::Status TakeHeader() {
    if (!request_.has_header()) return Malformed();
    header_ = std::move(*request_.mutable_header());
    if (const absl::Status limits = CheckRequest(*header_); !limits.ok()) {
      leases_.CountDrop("malformed");
      return limits;
    }
    FLOWAWR_RETURN_IF_ERROR(CheckCaller(leases_, header_->actor_id(), header_->session()));
    const absl::StatusOr<uint64_t> max_bytes = leases_.CheckSubmission(*header_);
    FLOWAWR_RETURN_IF_ERROR(max_bytes.status());
    absl::StatusOr<BlobAssembler> blob = BlobAssembler::Create(header_->blob(), *max_bytes);
    if (!blob.ok()) return Broken(blob.status());
    FLOWAWR_RETURN_IF_ERROR(budget_.Reserve(header_->actor_id(), header_->blob().size()));
    reserved_ = header_->blob().size();
    blob_ = *std::move(blob);
    return absl::OkStatus();
  }

  absl::Status TakeChunk() {
    if (!request_.has_chunk()) return Broken(absl::InvalidArgumentError("a group is one header, then chunks only"));
    const absl::Status added = blob_->Add(request_.chunk());
    return added.ok() ? added : Broken(added);
  }

  // The actor has sent everything, or is gone.
  absl::Status Finished() {
    if (!header_) return Malformed();
    absl::StatusOr<std::string> bytes = blob_->Finish();
    if (!bytes.ok()) return Broken(bytes.status());
    return leases_.Accept(*header_, *std::move(bytes));
  }

  absl::Status Malformed() {
    leases_.CountDrop("malformed");
    return absl::InvalidArgumentError("a group begins with its header");
  }
  absl::Status Broken(const absl::Status& why) {
    leases_.CountDrop("broken_stream");
    return Annotate(why, absl::StrCat("group ", header_->lease().group_id()));
  }

  void GiveBack() {
    if (reserved_) budget_.Release(header_->actor_id(), *reserved_);
    reserved_.reset();
  }

  LeaseDesk& leases_;
  SubmissionBudget& budget_;
  IdleWatch::Call idle_;
  v1::SubmitGroupRequest request_;
  std::optional<v1::GroupHeader> header_;
  std::optional<uint64_t> reserved_;
  std::optional<BlobAssembler> blob_;
};

}  // namespace

RolloutService::RolloutService(Options options, RunModel* model, LeaseDesk* leases, FanOut* fan_out, IdleWatch* idle)
    : options_(std::move(options)),
      model_(*model),
      leases_(*leases),
      fan_out_(*fan_out),
      idle_(*idle),
      budget_(options_.submissions) {}

// An actor without a model's parts asks for the configuration.
absl::Status RolloutService::CheckModel(const v1::RegisterRequest& request) {
  if (!request.model_fingerprint().empty())
    return absl::FailedPreconditionError(absl::StrCat("actor ", request.actor_id(), " is of an older release (",
                                                      request.software_version(),
                                                      "), which does not tell all of its model: run the learner's"));
  if (request.model_parts().empty()) return absl::OkStatus();
  return model_.Check(request.actor_id(), {request.model_parts().begin(), request.model_parts().end()});
}

grpc::ServerUnaryReactor* RolloutService::Register(grpc::CallbackServerContext* context,
                                                   const v1::RegisterRequest* request, v1::RegisterResponse* response) {
  if (const absl::Status limits = CheckRequest(*request); !limits.ok()) return FinishedCall(context, limits);
  const bool has_model = !request->model_parts().empty();
  if (const absl::Status same = CheckModel(*request); !same.ok()) {
    spdlog::warn("refused: {}", std::string(same.message()));
    return FinishedCall(context, same);
  }
  if (const absl::Status claimed = leases_.Claim(request->actor_id(), request->session()); !claimed.ok())
    return FinishedCall(context, claimed);
  if (has_model && request->instruction_set() != options_.instruction_set)
    spdlog::warn("actor {} uses the instruction set {}, the learner {}: last bits differ from another run's; "
                 "FLOWAWR_CPU keeps all to one",
                 request->actor_id(), request->instruction_set(), options_.instruction_set);
  if (const std::string warning = devices_.Add(request->actor_id(), request->device()); !warning.empty())
    spdlog::warn("{}", warning);
  const std::string host = HostOfPeer(context->peer());
  response->set_run_finished(leases_.Register(request->actor_id(), has_model, host));
  fan_out_.Join(request->actor_id(), PeerAddress(request->peer_endpoint(), host));
  response->set_run_id(options_.run_id);
  *response->mutable_config() = options_.config;
  response->set_heartbeat_s(absl::ToDoubleSeconds(options_.heartbeat));
  if (!request->peer_endpoint().empty()) GiveFetchKey(fan_out_.fetch_key(), context);
  return FinishedCall(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* RolloutService::Leave(grpc::CallbackServerContext* context, const v1::LeaveRequest* request,
                                                v1::LeaveResponse*) {
  const absl::Status known = CheckCaller(leases_, request->actor_id(), request->session());
  if (known.ok()) {
    leases_.Leave(request->actor_id());
    fan_out_.Leave(request->actor_id());
  }
  return FinishedCall(context, known);
}

grpc::ServerUnaryReactor* RolloutService::AcquireLease(grpc::CallbackServerContext* context,
                                                       const v1::AcquireLeaseRequest* request,
                                                       v1::AcquireLeaseResponse* response) {
  if (const absl::Status known = CheckCaller(leases_, request->actor_id(), request->session()); !known.ok())
    return FinishedCall(context, known);
  return new LeaseCall(leases_, *context, *request, *response);
}

grpc::ServerUnaryReactor* RolloutService::RenewLeases(grpc::CallbackServerContext* context,
                                                      const v1::RenewLeasesRequest* request,
                                                      v1::RenewLeasesResponse* response) {
  absl::Status known = CheckRequest(*request);
  known.Update(CheckCaller(leases_, request->actor_id(), request->session()));
  if (!known.ok()) return FinishedCall(context, known);
  absl::StatusOr<v1::RenewLeasesResponse> answer = leases_.Renew(*request);
  if (answer.ok()) *response = *std::move(answer);
  return FinishedCall(context, answer.status());
}

grpc::ServerUnaryReactor* RolloutService::FailLease(grpc::CallbackServerContext* context,
                                                    const v1::FailLeaseRequest* request, v1::FailLeaseResponse*) {
  absl::Status status = CheckCaller(leases_, request->actor_id(), request->session());
  if (status.ok()) status = leases_.Fail(*request);
  return FinishedCall(context, status);
}

grpc::ServerReadReactor<v1::SubmitGroupRequest>* RolloutService::SubmitGroup(grpc::CallbackServerContext* context,
                                                                             v1::SubmitGroupResponse*) {
  return new Submission(leases_, idle_, budget_, *context);
}

}  // namespace flowawr
