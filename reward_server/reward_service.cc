#include "reward_server/reward_service.h"

#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/status.h"
#include "common/scoring/score_bounds.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

constexpr int kMaxItems = 4096;
// Each holds a thread of the server, which has 512: some stay free for whoever lists, loads or unloads.
constexpr int kMaxScoring = 448;

absl::Status ScoreWith(ScorerHost& host, grpc::ServerContext& context, const v1::ScoreRequest& request,
                       v1::ScoreResponse& response) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<ScorerRunner> runner, host.Find(request.scorer()));
  if (request.items().empty() || request.items_size() > kMaxItems)
    return absl::InvalidArgumentError(
        absl::StrCat("a request holds 1 to ", kMaxItems, " images, not ", request.items_size()));
  std::vector<const v1::ScoreItem*> items;
  for (const v1::ScoreItem& item : request.items()) items.push_back(&item);
  // gRPC tells it as a time of day, reckoned from an interval just now.
  const absl::Time deadline = MonotonicNow() + (absl::FromChrono(context.deadline()) - absl::Now());
  auto results = runner->Score(items, deadline, [&context] { return context.IsCancelled(); });
  // Unloaded between Find() and Score(): for the caller it is simply not there.
  if (absl::IsFailedPrecondition(results.status()))
    return absl::NotFoundError(absl::StrCat("scorer \"", TruncateUtf8(request.scorer(), 64), "\" has been unloaded"));
  if (!results.ok()) return results.status();
  for (v1::ScoreResult& result : *results) *response.add_results() = std::move(result);
  response.set_scorer_version(runner->version());
  return absl::OkStatus();
}

absl::Status CheckWith(ScorerHost& host, const v1::CheckPromptsRequest& request, v1::CheckPromptsResponse& response) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<ScorerRunner> runner, host.Find(request.scorer()));
  if (request.prompts().empty() || request.prompts_size() > kMaxItems)
    return absl::InvalidArgumentError(
        absl::StrCat("a request holds 1 to ", kMaxItems, " prompts, not ", request.prompts_size()));
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

grpc::Status RewardService::Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) {
  absl::Cleanup leave = [this] { --scoring_; };
  if (++scoring_ > kMaxScoring)
    return ToGrpc(absl::ResourceExhaustedError(
        absl::StrCat(kMaxScoring, " calls wait for their scores already; try again soon")));
  return ToGrpc(ScoreWith(host_, *context, *request, *response));
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
  auto info = host_.Load(*request);
  if (!info.ok()) return ToGrpc(info.status());
  spdlog::info("loaded scorer {} ({})", info->name(), info->version());
  if (memory_ != nullptr) WarnUnlessKept(memory_->Add(*request), info->name());
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
