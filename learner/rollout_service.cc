#include "learner/rollout_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/status.h"
#include "learner/request_limits.h"

namespace flowawr {
namespace {

constexpr double kLongestWaitSeconds = 30;

// The blob of a SubmitGroup call whose header was read already.
absl::StatusOr<std::string> ReceiveBlob(const v1::BlobHeader& header, uint64_t max_bytes,
                                        grpc::ServerReader<v1::SubmitGroupRequest>& reader) {
  FLOWAWR_ASSIGN_OR_RETURN(BlobAssembler blob, BlobAssembler::Create(header, max_bytes));
  v1::SubmitGroupRequest request;
  while (reader.Read(&request)) {
    if (!request.has_chunk()) return absl::InvalidArgumentError("a group is one header, then chunks only");
    FLOWAWR_RETURN_IF_ERROR(blob.Add(request.chunk()));
  }
  return blob.Finish();
}

}  // namespace

absl::Status RolloutService::CheckCaller(const std::string& actor_id, const std::string& session) const {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(actor_id, session));
  return desk_.CheckSession(actor_id, session);
}

grpc::Status RolloutService::Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                                      v1::RegisterResponse* response) {
  if (const absl::Status limits = CheckRequest(*request); !limits.ok()) return ToGrpc(limits);
  if (!request->model_fingerprint().empty() && request->model_fingerprint() != options_.model_fingerprint)
    return ToGrpc(absl::FailedPreconditionError(
        absl::StrCat("actor ", request->actor_id(), " has another model than the learner (fingerprint ",
                     TruncateUtf8(request->model_fingerprint(), 15), ", expected ",
                     TruncateUtf8(options_.model_fingerprint, 15), "): point both to the same checkpoint folder")));
  if (const absl::Status claimed = desk_.Claim(request->actor_id(), request->session()); !claimed.ok())
    return ToGrpc(claimed);
  response->set_run_finished(desk_.Register(request->actor_id(), !request->model_fingerprint().empty()));
  response->set_run_id(options_.run_id);
  *response->mutable_config() = options_.config;
  response->set_heartbeat_s(absl::ToDoubleSeconds(options_.heartbeat));
  return grpc::Status::OK;
}

grpc::Status RolloutService::AcquireLease(grpc::ServerContext* context, const v1::AcquireLeaseRequest* request,
                                          v1::AcquireLeaseResponse* response) {
  if (const absl::Status known = CheckCaller(request->actor_id(), request->session()); !known.ok())
    return ToGrpc(known);
  const double wait_s = std::clamp(request->wait_s(), 0.0, kLongestWaitSeconds);
  absl::StatusOr<v1::AcquireLeaseResponse> answer =
      desk_.Acquire(request->actor_id(), absl::Seconds(wait_s), [context] { return context->IsCancelled(); });
  if (!answer.ok()) return ToGrpc(answer.status());
  *response = *std::move(answer);
  return grpc::Status::OK;
}

grpc::Status RolloutService::RenewLeases(grpc::ServerContext*, const v1::RenewLeasesRequest* request,
                                         v1::RenewLeasesResponse* response) {
  absl::Status known = CheckRequest(*request);
  known.Update(CheckCaller(request->actor_id(), request->session()));
  if (!known.ok()) return ToGrpc(known);
  absl::StatusOr<v1::RenewLeasesResponse> answer = desk_.Renew(*request);
  if (!answer.ok()) return ToGrpc(answer.status());
  *response = *std::move(answer);
  return grpc::Status::OK;
}

grpc::Status RolloutService::FailLease(grpc::ServerContext*, const v1::FailLeaseRequest* request,
                                       v1::FailLeaseResponse*) {
  if (const absl::Status known = CheckCaller(request->actor_id(), request->session()); !known.ok())
    return ToGrpc(known);
  return ToGrpc(desk_.Fail(*request));
}

grpc::Status RolloutService::SubmitGroup(grpc::ServerContext*, grpc::ServerReader<v1::SubmitGroupRequest>* reader,
                                         v1::SubmitGroupResponse* response) {
  v1::SubmitGroupRequest first;
  if (!reader->Read(&first) || !first.has_header()) {
    desk_.CountDrop("malformed");
    return ToGrpc(absl::InvalidArgumentError("a group begins with its header"));
  }
  absl::Status limits = CheckRequest(first.header());
  if (!limits.ok()) desk_.CountDrop("malformed");
  limits.Update(CheckCaller(first.header().actor_id(), first.header().session()));
  if (!limits.ok()) return ToGrpc(limits);
  const absl::StatusOr<uint64_t> max_bytes = desk_.CheckSubmission(first.header());
  if (absl::IsAlreadyExists(max_bytes.status())) response->set_is_duplicate(true);
  if (!max_bytes.ok()) return ToGrpc(max_bytes.status());
  absl::StatusOr<std::string> blob = ReceiveBlob(first.header().blob(), *max_bytes, *reader);
  if (!blob.ok()) {
    desk_.CountDrop("broken_stream");
    return ToGrpc(Annotate(blob.status(), absl::StrCat("group ", first.header().lease().group_id())));
  }
  return ToGrpc(desk_.Accept(first.header(), *std::move(blob)));
}

}  // namespace flowawr
