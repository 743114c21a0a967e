#include "learner/control_service.h"

#include <algorithm>
#include <utility>

#include "common/base/clock.h"
#include "common/rpc/status.h"

namespace flowawr {
namespace {

// A handler learns that its client hung up only by asking; a status goes out then, changed or not.
constexpr absl::Duration kHangUpCheck = absl::Milliseconds(500);

}  // namespace

grpc::Status ControlService::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status* status) {
  *status = desk_.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest* request,
                                         grpc::ServerWriter<v1::Status>* writer) {
  const double hz = request->max_hz() > 0 ? std::min(request->max_hz(), 20.0) : 2;
  uint64_t seen = 0;
  absl::Time next = absl::InfinitePast();
  while (!context->IsCancelled()) {
    const bool is_last = desk_.is_stopped();
    const v1::Status status = desk_.WaitForStatus(&seen, next, kHangUpCheck);
    if (!writer->Write(status) || is_last) break;
    next = MonotonicNow() + absl::Seconds(1 / hz);
  }
  return grpc::Status::OK;
}

grpc::Status ControlService::Pause(grpc::ServerContext*, const v1::PauseRequest*, v1::Status* status) {
  loop_.SetPaused(true);
  *status = desk_.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::Resume(grpc::ServerContext*, const v1::ResumeRequest*, v1::Status* status) {
  loop_.SetPaused(false);
  *status = desk_.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::Checkpoint(grpc::ServerContext*, const v1::CheckpointRequest*,
                                        v1::CheckpointResponse* response) {
  absl::StatusOr<std::string> path = loop_.Checkpoint();
  if (!path.ok()) return ToGrpc(path.status());
  response->set_path(*std::move(path));
  return grpc::Status::OK;
}

grpc::Status ControlService::Export(grpc::ServerContext*, const v1::ExportRequest* request,
                                    v1::ExportResponse* response) {
  absl::StatusOr<ExportedLora> exported = loop_.Export(request->role(), request->path());
  if (!exported.ok()) return ToGrpc(exported.status());
  response->set_peft_folder(exported->peft_folder);
  response->set_diffusers_file(exported->diffusers_file);
  return grpc::Status::OK;
}

grpc::Status ControlService::SetRewardSpec(grpc::ServerContext*, const v1::SetRewardSpecRequest* request,
                                           v1::RewardSpec* response) {
  absl::StatusOr<v1::RewardSpec> spec = loop_.SetRewardSpec({request->terms().begin(), request->terms().end()});
  if (!spec.ok()) return ToGrpc(spec.status());
  *response = *std::move(spec);
  return grpc::Status::OK;
}

grpc::Status ControlService::Shutdown(grpc::ServerContext*, const v1::ShutdownRequest*, v1::ShutdownResponse*) {
  shut_down_();
  return grpc::Status::OK;
}

}  // namespace flowawr
