#include "learner/control_service.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/utf8.h"
#include "common/rpc/status.h"
#include "common/scoring/expected_spec.h"
#include "learner/cancellable_wait.h"

namespace flowawr {
namespace {

constexpr absl::Duration kOldest = absl::Milliseconds(500);  // a status goes out then, changed or not
constexpr double kUsualHz = 2, kMinHz = .01, kMaxHz = 20;
constexpr int kMaxWaiting = 8;

class StatusWatch final : public grpc::ServerWriteReactor<v1::Status> {
 public:
  StatusWatch(StatusBoard& board, IdleWatch& idle, grpc::CallbackServerContext& context, double hz)
      : board_(board),
        pause_(absl::Seconds(1 / (hz > 0 ? std::clamp(hz, kMinHz, kMaxHz) : kUsualHz))),
        idle_(idle, context),
        wait_(std::make_shared<CancellableWait<StatusBoard>>(board)) {
    Await(absl::InfinitePast());
  }

  void OnWriteDone(bool ok) override {
    idle_.End();
    if (!ok) return Finish(grpc::Status::CANCELLED);
    if (written_.is_last) return Finish(grpc::Status::OK);
    Await(written_at_ + pause_);
  }
  void OnCancel() override { wait_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  void Await(absl::Time not_before) {
    const std::shared_ptr<CancellableWait<StatusBoard>> wait = wait_;
    const absl::Time until = std::max(not_before, MonotonicNow() + kOldest);
    wait->Begun(board_.AwaitStatus(written_.seen, not_before, until, [this](auto now) { OnStatus(std::move(now)); }));
  }

  void OnStatus(absl::StatusOr<StatusBoard::Seen> now) {
    if (!now.ok()) return Finish(ToGrpc(now.status()));
    written_ = *std::move(now);
    written_at_ = MonotonicNow();
    idle_.Begin();
    StartWrite(written_.status.get());
  }

  StatusBoard& board_;
  const absl::Duration pause_;
  IdleWatch::Call idle_;
  const std::shared_ptr<CancellableWait<StatusBoard>> wait_;
  StatusBoard::Seen written_;
  absl::Time written_at_;
};

// Counts a call that waits for the run loop as long as it lives.
class Waiting {
 public:
  explicit Waiting(std::atomic<int>& count) : count_(count), is_one_too_many_(++count > kMaxWaiting) {}
  ~Waiting() { --count_; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  absl::Status status() const {
    if (!is_one_too_many_) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat(kMaxWaiting, " calls wait for a checkpoint, an export or a swap already; try again later"));
  }

 private:
  std::atomic<int>& count_;
  const bool is_one_too_many_;
};

}  // namespace

grpc::ServerUnaryReactor* ControlService::GetStatus(grpc::CallbackServerContext* context, const v1::GetStatusRequest*,
                                                    v1::Status* status) {
  *status = board_.status();
  return FinishedCall(context, absl::OkStatus());
}

grpc::ServerWriteReactor<v1::Status>* ControlService::WatchStatus(grpc::CallbackServerContext* context,
                                                                  const v1::WatchStatusRequest* request) {
  return new StatusWatch(board_, idle_, *context, request->max_hz());
}

grpc::Status ControlService::Pause(grpc::ServerContext*, const v1::PauseRequest*, v1::Status* status) {
  loop_.SetPaused(true);
  *status = board_.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::Resume(grpc::ServerContext*, const v1::ResumeRequest*, v1::Status* status) {
  loop_.SetPaused(false);
  *status = board_.status();
  return grpc::Status::OK;
}

grpc::Status ControlService::Checkpoint(grpc::ServerContext*, const v1::CheckpointRequest*,
                                        v1::CheckpointResponse* response) {
  const Waiting waiting(waiting_);
  if (!waiting.status().ok()) return ToGrpc(waiting.status());
  absl::StatusOr<std::string> path = loop_.Checkpoint();
  if (!path.ok()) return ToGrpc(path.status());
  response->set_path(SanitizeUtf8(*path));
  return grpc::Status::OK;
}

grpc::Status ControlService::Export(grpc::ServerContext*, const v1::ExportRequest* request,
                                    v1::ExportResponse* response) {
  const Waiting waiting(waiting_);
  if (!waiting.status().ok()) return ToGrpc(waiting.status());
  absl::StatusOr<ExportedLora> exported = loop_.Export(request->role(), request->path());
  if (!exported.ok()) return ToGrpc(exported.status());
  response->set_peft_folder(SanitizeUtf8(exported->peft_folder));
  response->set_diffusers_file(SanitizeUtf8(exported->diffusers_file));
  return grpc::Status::OK;
}

grpc::Status ControlService::SetRewardSpec(grpc::ServerContext* context, const v1::SetRewardSpecRequest* request,
                                           v1::RewardSpec* response) {
  const Waiting waiting(waiting_);
  if (!waiting.status().ok()) return ToGrpc(waiting.status());
  absl::StatusOr<v1::RewardSpec> spec =
      loop_.SetRewardSpec({request->terms().begin(), request->terms().end()}, ExpectedRewardSpec(*context),
                          [context] { return context->IsCancelled(); });
  if (!spec.ok()) return ToGrpc(spec.status());
  *response = *std::move(spec);
  return grpc::Status::OK;
}

grpc::Status ControlService::Shutdown(grpc::ServerContext*, const v1::ShutdownRequest*, v1::ShutdownResponse*) {
  shut_down_();
  return grpc::Status::OK;
}

}  // namespace flowawr
