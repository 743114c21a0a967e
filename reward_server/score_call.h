// One Score call of a client, from its coming to its answer, without a thread of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "common/rpc/idle_watch.h"
#include "flowawr/v1/reward.pb.h"
#include "grpcpp/support/message_allocator.h"
#include "grpcpp/support/server_callback.h"
#include "reward_server/pending_bytes.h"
#include "reward_server/scorer_host.h"

namespace flowawr {

// The messages of a call. gRPC would free the request at the call's end: a scorer that does not return may read its
// images after that.
class ScoreMessages final : public grpc::MessageHolder<v1::ScoreRequest, v1::ScoreResponse> {
 public:
  ScoreMessages();
  void Release() override { delete this; }
  void FreeRequest() override;
  const std::shared_ptr<v1::ScoreRequest>& shared_request() const { return shared_request_; }

 private:
  std::shared_ptr<v1::ScoreRequest> shared_request_ = std::make_shared<v1::ScoreRequest>();
  v1::ScoreResponse response_;
};

class ScoreMessageAllocator final : public grpc::MessageAllocator<v1::ScoreRequest, v1::ScoreResponse> {
 public:
  grpc::MessageHolder<v1::ScoreRequest, v1::ScoreResponse>* AllocateMessages() override { return new ScoreMessages; }
};

// Deletes itself when gRPC has done with it. Everything that it is given must outlive it.
class ScoreCall final : public grpc::ServerUnaryReactor {
 public:
  // Asks the host's scorer. `context` is one whose messages are a ScoreMessages.
  ScoreCall(ScorerHost& host, PendingBytes& pending, IdleWatch& idle, grpc::CallbackServerContext& context);

  void OnCancel() override;
  void OnDone() override;

 private:
  // OK when the task's Done will answer.
  absl::Status Begin(ScorerHost& host, const std::shared_ptr<ScoreTask>& task);
  void Answer(absl::StatusOr<std::vector<v1::ScoreResult>> results);
  void End(const absl::Status& status);

  PendingBytes& pending_;
  grpc::CallbackServerContext& context_;
  ScoreMessages& messages_;
  IdleWatch::Call reading_;  // while the client reads the answer
  uint64_t held_bytes_ = 0;
  std::weak_ptr<ScoreTask> task_;  // whose request must not wait for the client to read
};

}  // namespace flowawr
