// A reward server whose scorers do what a test says: the real protocol over real gRPC, served by the test itself.
//
// For what no real scorer can be made to do at will: to be slow, to fail on every image, to give rewards that tell
// which scorer gave them.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/server.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {

// Thread-safe.
class ScriptedRewards final : public v1::RewardService::Service {
 public:
  enum class Mood {
    kWell,
    kSlow,    // answers nothing until the caller has gone, or the mood changes
    kBroken,  // BROKEN for every image
  };

  // Serves scorers by name; the reward of an image is the number, plus less than 1 that depends on the image.
  explicit ScriptedRewards(std::map<std::string, double> scorers);
  ~ScriptedRewards() override;

  std::string endpoint() const { return server_->endpoint(); }
  void SetMood(Mood mood);
  // Calls of Score() so far.
  int calls() const;

  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override;
  grpc::Status ListScorers(grpc::ServerContext* context, const v1::ListScorersRequest* request,
                           v1::ListScorersResponse* response) override;

 private:
  Mood AwaitMoodToAnswer(grpc::ServerContext& context);

  const std::map<std::string, double> scorers_;
  mutable absl::Mutex mutex_;
  Mood mood_ ABSL_GUARDED_BY(mutex_) = Mood::kWell;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<RpcServer> server_;
};

}  // namespace flowawr
