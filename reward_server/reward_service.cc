#include "reward_server/reward_service.h"

#include <utility>

#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/status.h"
#include "common/scoring/score_bounds.h"
#include "common/telemetry/metric_catalogue.h"
#include "reward_server/request_bounds.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

absl::Status CheckWith(ScorerHost& host, const v1::CheckPromptsRequest& request, v1::CheckPromptsResponse& response) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<ScorerRunner> runner, host.Find(request.scorer()));
  FLOWAWR_RETURN_IF_ERROR(CheckCount(request.prompts_size(), "prompts"));
  for (int i = 0; i < request.prompts_size(); ++i) {
    const absl::Status status = runner->CheckPrompt(request.prompts(i).text(), request.prompts(i).metadata());
    if (status.ok()) continue;
    v1::PromptFault& fault = *response.add_faults();
    fault.set_index(static_cast<uint32_t>(i));
    fault.set_message(TruncateUtf8(status.message(), kMaxErrorBytes));
  }
  return absl::OkStatus();
}

// The scorer is served, or gone, all the same: only the server after this one would not know.
void WarnUnlessKept(const absl::Status& kept, const std::string& scorer) {
  if (!kept.ok()) spdlog::warn("scorer {}: the next start will not know of this: {}", scorer, kept.ToString());
}

}  // namespace

RewardService::RewardService(ScorerHost& host, ScorerMemory* memory, prometheus::Registry& registry,
                             const Options& options)
    : host_(host),
      memory_(memory),
      pending_(options.max_pending_bytes, RegisterGauge(registry, "flowawr_pending_request_bytes").Add({})),
      idle_(options.time_to_read) {
  SetMessageAllocatorFor_Score(&allocator_);
}

grpc::ServerUnaryReactor* RewardService::Score(grpc::CallbackServerContext* context, const v1::ScoreRequest*,
                                               v1::ScoreResponse*) {
  return new ScoreCall(host_, pending_, idle_, *context);
}

grpc::Status RewardService::CheckPrompts(grpc::ServerContext*, const v1::CheckPromptsRequest* request,
                                         v1::CheckPromptsResponse* response) {
  return ToGrpc(CheckWith(host_, *request, *response));
}

grpc::Status RewardService::ListScorers(grpc::ServerContext*, const v1::ListScorersRequest*,
                                        v1::ListScorersResponse* response) {
  *response = host_.List();
  return grpc::Status::OK;
}

grpc::Status RewardService::LoadScorer(grpc::ServerContext*, const v1::LoadScorerRequest* request,
                                       v1::LoadScorerResponse* response) {
  return AnswerLoad(host_.Load(*request), "loaded", response);
}

grpc::Status RewardService::ReloadScorer(grpc::ServerContext*, const v1::LoadScorerRequest* request,
                                         v1::LoadScorerResponse* response) {
  return AnswerLoad(host_.Reload(*request), "replaced", response);
}

grpc::Status RewardService::AnswerLoad(absl::StatusOr<v1::ScorerInfo> info, const char* what_was_done,
                                       v1::LoadScorerResponse* response) {
  if (!info.ok()) return ToGrpc(info.status());
  spdlog::info("{} scorer {} ({})", what_was_done, info->name(), info->version());
  v1::LoadScorerRequest loaded;
  loaded.set_name(info->name());
  loaded.set_kind(info->kind());
  *loaded.mutable_options() = info->options();
  if (memory_ != nullptr) WarnUnlessKept(memory_->Add(loaded), info->name());
  *response->mutable_scorer() = *std::move(info);
  return grpc::Status::OK;
}

grpc::Status RewardService::UnloadScorer(grpc::ServerContext*, const v1::UnloadScorerRequest* request,
                                         v1::UnloadScorerResponse*) {
  const absl::Status status = host_.Unload(request->name());
  if (status.ok()) spdlog::info("unloaded scorer {}", request->name());
  if (status.ok() && memory_ != nullptr) WarnUnlessKept(memory_->Remove(request->name()), request->name());
  return ToGrpc(status);
}

}  // namespace flowawr
