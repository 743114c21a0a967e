// A real service on a real server, for the tests of servers and channels.
#pragma once

#include <atomic>

#include "absl/synchronization/notification.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {

// Counts the calls that reach a handler. UnloadScorer() tells that it has begun and stays until released.
class TestService : public v1::RewardService::Service {
 public:
  grpc::Status ListScorers(grpc::ServerContext*, const v1::ListScorersRequest*,
                           v1::ListScorersResponse* response) override {
    ++calls;
    response->add_available_kinds("ocr");
    return grpc::Status::OK;
  }
  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest*, v1::ScoreResponse*) override {
    ++calls;
    return grpc::Status::OK;
  }
  grpc::Status UnloadScorer(grpc::ServerContext*, const v1::UnloadScorerRequest*, v1::UnloadScorerResponse*) override {
    ++calls;
    has_begun.Notify();
    release.WaitForNotification();
    return grpc::Status::OK;
  }

  std::atomic<int> calls = 0;
  absl::Notification has_begun;
  absl::Notification release;
};

}  // namespace flowawr
