// The RewardService of reward.proto over a ScorerHost.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "common/rpc/idle_watch.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "prometheus/registry.h"
#include "reward_server/pending_bytes.h"
#include "reward_server/score_call.h"
#include "reward_server/scorer_host.h"
#include "reward_server/scorer_memory.h"

namespace flowawr {

// Score calls hold no thread while they wait; the others, which are few, hold one each.
//
// Thread-safe. The host and the registry must outlive it, as must the memory, which may be null: what is loaded and
// unloaded by calls is then forgotten with the server.
class RewardService final : public v1::RewardService::WithCallbackMethod_Score<v1::RewardService::Service> {
 public:
  struct Options {
    uint64_t max_pending_bytes = uint64_t{1} << 30;   // of requests and answers; above it calls are refused
    absl::Duration time_to_read = absl::Minutes(1);   // a client that does not take its answer in it is cut off
  };
  RewardService(ScorerHost& host, ScorerMemory* memory, prometheus::Registry& registry, const Options& options);

  // NOT_FOUND: no such scorer. INVALID_ARGUMENT: no items or too many. RESOURCE_EXHAUSTED: no item found room, or the
  // server holds too many bytes; the trailing metadata grpc-retry-pushback-ms says when to come again, if it is known.
  // DEADLINE_EXCEEDED, CANCELLED: what was not begun has been dropped. Errors of single images are in the response.
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context, const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  // NOT_FOUND, INVALID_ARGUMENT as Score().
  grpc::Status CheckPrompts(grpc::ServerContext* context, const v1::CheckPromptsRequest* request,
                            v1::CheckPromptsResponse* response) override;
  grpc::Status ListScorers(grpc::ServerContext* context, const v1::ListScorersRequest* request,
                           v1::ListScorersResponse* response) override;
  grpc::Status LoadScorer(grpc::ServerContext* context, const v1::LoadScorerRequest* request,
                          v1::LoadScorerResponse* response) override;
  grpc::Status ReloadScorer(grpc::ServerContext* context, const v1::LoadScorerRequest* request,
                            v1::LoadScorerResponse* response) override;
  grpc::Status UnloadScorer(grpc::ServerContext* context, const v1::UnloadScorerRequest* request,
                            v1::UnloadScorerResponse* response) override;

 private:
  grpc::Status AnswerLoad(absl::StatusOr<v1::ScorerInfo> info, const char* what_was_done,
                          v1::LoadScorerResponse* response);

  ScorerHost& host_;
  ScorerMemory* const memory_;
  ScoreMessageAllocator allocator_;
  PendingBytes pending_;
  IdleWatch idle_;
};

}  // namespace flowawr
