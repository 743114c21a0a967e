#include "learner/policy_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/status.h"

namespace flowawr {
namespace {

// A handler learns that its client hung up only by asking.
constexpr absl::Duration kHangUpCheck = absl::Milliseconds(500);

}  // namespace

grpc::Status PolicyService::WatchPolicy(grpc::ServerContext* context, const v1::WatchPolicyRequest* request,
                                        grpc::ServerWriter<v1::PolicyVersion>* writer) {
  desk_.SetWatching(request->actor_id(), request->session(), true);
  uint64_t sent = 0;
  while (!context->IsCancelled() && !desk_.is_stopped()) {
    const std::shared_ptr<const StoredPolicy> newest = desk_.WaitForBehaviour(sent, kHangUpCheck);
    if (newest == nullptr) continue;
    if (!writer->Write(newest->header.policy())) break;
    sent = newest->header.policy().version();
  }
  desk_.SetWatching(request->actor_id(), request->session(), false);
  return grpc::Status::OK;
}

grpc::Status PolicyService::FetchPolicy(grpc::ServerContext*, const v1::FetchPolicyRequest* request,
                                        grpc::ServerWriter<v1::FetchPolicyResponse>* writer) {
  const std::shared_ptr<const StoredPolicy> stored = desk_.FindPolicy(request->version());
  if (stored == nullptr)
    return ToGrpc(absl::NotFoundError(absl::StrCat("policy version ", request->version(), " is not kept")));
  v1::FetchPolicyResponse response;
  *response.mutable_header() = stored->header;
  if (!writer->Write(response)) return ToGrpc(absl::CancelledError("the actor closed the stream"));
  return ToGrpc(SendBlob(stored->bytes, [&](v1::BlobChunk&& chunk) {
    *response.mutable_chunk() = std::move(chunk);
    return writer->Write(response);
  }));
}

grpc::Status PolicyService::ReportAdoption(grpc::ServerContext*, const v1::ReportAdoptionRequest* request,
                                           v1::ReportAdoptionResponse*) {
  return ToGrpc(desk_.ReportAdoption(*request));
}

}  // namespace flowawr
