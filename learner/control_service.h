// The Control service: what the `flowawr` command asks of a running learner. A thin adapter to RunLoop and
// StatusBoard.
//
// The status is answered and watched without a thread of its own, so that it is there whatever else goes on. What waits
// for the run loop holds a thread of the server; few may do so at once. Watches end, after a last status, when the board
// stops.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "common/rpc/idle_watch.h"
#include "flowawr/v1/control.grpc.pb.h"
#include "learner/run_loop.h"
#include "learner/status_board.h"

namespace flowawr {

class ControlService final
    : public v1::Control::WithCallbackMethod_GetStatus<v1::Control::WithCallbackMethod_WatchStatus<v1::Control::Service>> {
 public:
  // All must outlive the service. `idle` ends watches of clients that do not read; `shut_down` is called for each
  // Shutdown call.
  ControlService(StatusBoard* board, RunLoop* loop, IdleWatch* idle, std::function<void()> shut_down)
      : board_(*board), loop_(*loop), idle_(*idle), shut_down_(std::move(shut_down)) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext*, const v1::GetStatusRequest*, v1::Status*) override;
  grpc::ServerWriteReactor<v1::Status>* WatchStatus(grpc::CallbackServerContext*,
                                                    const v1::WatchStatusRequest*) override;
  grpc::Status Pause(grpc::ServerContext*, const v1::PauseRequest*, v1::Status*) override;
  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*, v1::Status*) override;
  grpc::Status Checkpoint(grpc::ServerContext*, const v1::CheckpointRequest*, v1::CheckpointResponse*) override;
  grpc::Status Export(grpc::ServerContext*, const v1::ExportRequest*, v1::ExportResponse*) override;
  grpc::Status SetRewardSpec(grpc::ServerContext*, const v1::SetRewardSpecRequest*, v1::RewardSpec*) override;
  grpc::Status Shutdown(grpc::ServerContext*, const v1::ShutdownRequest*, v1::ShutdownResponse*) override;

 private:
  StatusBoard& board_;
  RunLoop& loop_;
  IdleWatch& idle_;
  std::atomic<int> waiting_ = 0;  // calls that wait for a checkpoint, an export or a swap
  const std::function<void()> shut_down_;
};

}  // namespace flowawr
