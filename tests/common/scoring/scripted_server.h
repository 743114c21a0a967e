// A reward server whose answers the test decides; real gRPC, real sockets.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/server.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "gtest/gtest.h"

namespace flowawr {

// Thread-safe.
class ScriptedServer : public v1::RewardService::Service {
 public:
  using Script = std::function<grpc::Status(int call, const v1::ScoreRequest&, v1::ScoreResponse&)>;

  explicit ScriptedServer(Script script, const std::string& listen = "127.0.0.1:0") : script_(std::move(script)) {
    v1::NetworkConfig network;
    network.set_max_message_mib(16);
    auto server = RpcServer::Start({.listen = listen, .network = network}, {this});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~ScriptedServer() override { server_.reset(); }

  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest* request, v1::ScoreResponse* response) override {
    int call = 0;
    {
      absl::MutexLock lock(&mutex_);
      call = static_cast<int>(items_per_call_.size());
      items_per_call_.push_back(request->items_size());
    }
    return script_(call, *request, *response);
  }

  grpc::Status ListScorers(grpc::ServerContext*, const v1::ListScorersRequest*,
                           v1::ListScorersResponse* response) override {
    for (const char* name : {"s", "size"}) response->add_scorers()->set_name(name);
    return grpc::Status::OK;
  }

  std::string endpoint() const { return server_->endpoint(); }
  std::vector<int> items_per_call() {
    absl::MutexLock lock(&mutex_);
    return items_per_call_;
  }

 private:
  const Script script_;
  std::unique_ptr<RpcServer> server_;
  absl::Mutex mutex_;
  std::vector<int> items_per_call_ ABSL_GUARDED_BY(mutex_);
};

// The reward of an image is its first byte.
inline grpc::Status FirstByte(int, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
  for (const v1::ScoreItem& item : request.items())
    response.add_results()->set_reward(static_cast<uint8_t>(item.image_rgb()[0]));
  return grpc::Status::OK;
}

}  // namespace flowawr
