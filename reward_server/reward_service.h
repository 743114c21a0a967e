// The RewardService of reward.proto over a ScorerHost.
#pragma once

#include <atomic>

#include "flowawr/v1/reward.grpc.pb.h"
#include "reward_server/scorer_host.h"
#include "reward_server/scorer_memory.h"

namespace flowawr {

// Thread-safe. The host must outlive it, as must the memory, which may be null: what is loaded and unloaded by calls is
// then forgotten with the server.
class RewardService final : public v1::RewardService::Service {
 public:
  RewardService(ScorerHost& host, ScorerMemory* memory) : host_(host), memory_(memory) {}

  // NOT_FOUND: no such scorer. INVALID_ARGUMENT: no items or too many. DEADLINE_EXCEEDED, CANCELLED: what was not begun
  // has been dropped. Errors of single images are in the response.
  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override;
  // NOT_FOUND, INVALID_ARGUMENT as Score().
  grpc::Status CheckPrompts(grpc::ServerContext* context, const v1::CheckPromptsRequest* request,
                            v1::CheckPromptsResponse* response) override;
  grpc::Status ListScorers(grpc::ServerContext* context, const v1::ListScorersRequest* request,
                           v1::ListScorersResponse* response) override;
  grpc::Status LoadScorer(grpc::ServerContext* context, const v1::LoadScorerRequest* request,
                          v1::LoadScorerResponse* response) override;
  grpc::Status UnloadScorer(grpc::ServerContext* context, const v1::UnloadScorerRequest* request,
                            v1::UnloadScorerResponse* response) override;

 private:
  ScorerHost& host_;
  ScorerMemory* const memory_;
  std::atomic<int> scoring_ = 0;  // Score calls under way
};

}  // namespace flowawr
