// The Control service: what the `flowawr` command asks of a running learner. A thin adapter to RunLoop and Desk.
// Watches end, after a last status, when the desk stops.
#pragma once

#include <functional>
#include <utility>

#include "flowawr/v1/control.grpc.pb.h"
#include "learner/desk.h"
#include "learner/run_loop.h"

namespace flowawr {

class ControlService final : public v1::Control::Service {
 public:
  // `desk` and `loop` must outlive the service. `shut_down` is called for each Shutdown call.
  ControlService(Desk* desk, RunLoop* loop, std::function<void()> shut_down)
      : desk_(*desk), loop_(*loop), shut_down_(std::move(shut_down)) {}

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status*) override;
  grpc::Status WatchStatus(grpc::ServerContext*, const v1::WatchStatusRequest*,
                           grpc::ServerWriter<v1::Status>*) override;
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest*, v1::Status*) override;
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*, v1::Status*) override;
  grpc::Status Checkpoint(grpc::ServerContext*, const v1::CheckpointRequest*, v1::CheckpointResponse*) override;
  grpc::Status Export(grpc::ServerContext*, const v1::ExportRequest*, v1::ExportResponse*) override;
  grpc::Status SetRewardSpec(grpc::ServerContext*, const v1::SetRewardSpecRequest*, v1::RewardSpec*) override;
  grpc::Status Shutdown(grpc::ServerContext*, const v1::ShutdownRequest*, v1::ShutdownResponse*) override;

 private:
  Desk& desk_;
  RunLoop& loop_;
  const std::function<void()> shut_down_;
};

}  // namespace flowawr
