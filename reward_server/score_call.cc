#include "reward_server/score_call.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/status.h"
#include "reward_server/request_bounds.h"

namespace flowawr {
namespace {

// gRPC's own way to say when to come again: gRFC A6, "server pushback", in milliseconds.
constexpr char kRetryPushback[] = "grpc-retry-pushback-ms";
constexpr double kRetryFull = 1;  // seconds, when there are too many bytes

// gRPC tells a deadline as a time of day, reckoned from an interval just now.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  return MonotonicNow() + (absl::FromChrono(context.deadline()) - absl::Now());
}

bool IsOverloaded(const v1::ScoreResult& result) { return result.error().kind() == v1::ScoreError::OVERLOADED; }

// For gRPC's own clients, and for whoever looks: how long to wait before the next attempt.
void TellRetryAfter(grpc::CallbackServerContext& context, double seconds) {
  if (seconds > 0)
    context.AddTrailingMetadata(kRetryPushback, absl::StrCat(static_cast<int64_t>(std::ceil(seconds * 1000))));
}

}  // namespace

ScoreMessages::ScoreMessages() {
  set_request(shared_request_.get());
  set_response(&response_);
}

void ScoreMessages::FreeRequest() {
  set_request(nullptr);
  shared_request_.reset();
}

ScoreCall::ScoreCall(ScorerHost& host, PendingBytes& pending, IdleWatch& idle, grpc::CallbackServerContext& context)
    : pending_(pending),
      context_(context),
      messages_(*static_cast<ScoreMessages*>(context.GetRpcAllocatorState())),
      reading_(idle, context) {
  const auto task = std::make_shared<ScoreTask>(messages_.shared_request(), DeadlineOf(context),
                                                [this](auto results) { Answer(std::move(results)); });
  task_ = task;
  if (const absl::Status begun = Begin(host, task); !begun.ok()) End(begun);
}

absl::Status ScoreCall::Begin(ScorerHost& host, const std::shared_ptr<ScoreTask>& task) {
  const v1::ScoreRequest& request = *messages_.request();
  FLOWAWR_RETURN_IF_ERROR(CheckCount(request.items_size(), "images"));
  uint64_t bytes = 0;
  for (const v1::ScoreItem& item : request.items()) bytes += item.image_rgb().size() + item.prompt().size();
  if (absl::Status held = pending_.Reserve(bytes); !held.ok()) {
    TellRetryAfter(context_, kRetryFull);
    return held;
  }
  held_bytes_ = bytes;
  while (true) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<ScorerRunner> runner, host.Find(request.scorer()));
    v1::ScoreResponse& response = *messages_.response();
    response.set_scorer_version(runner->version());
    response.set_weights_sha256(runner->weights_sha256());
    // Refused: it has been replaced or unloaded since, and the host has another one, or none.
    if (runner->Score(task).ok()) return absl::OkStatus();
  }
}

void ScoreCall::Answer(absl::StatusOr<std::vector<v1::ScoreResult>> results) {
  // Unloaded meanwhile: for the caller it is simply not there.
  if (absl::IsFailedPrecondition(results.status())) return End(absl::NotFoundError("the scorer has been unloaded"));
  if (!results.ok()) return End(results.status());
  if (std::all_of(results->begin(), results->end(), IsOverloaded)) {
    const v1::ScoreError& error = results->front().error();
    TellRetryAfter(context_, error.retry_after_s());
    return End(absl::ResourceExhaustedError(error.message()));
  }
  for (v1::ScoreResult& result : *results) *messages_.response()->add_results() = std::move(result);
  End(absl::OkStatus());
}

// The last thing that is done here: gRPC may delete the call at once.
void ScoreCall::End(const absl::Status& status) {
  const uint64_t answer_bytes = status.ok() ? messages_.response()->ByteSizeLong() : 0;
  messages_.FreeRequest();
  pending_.Replace(std::exchange(held_bytes_, answer_bytes), answer_bytes);
  reading_.Begin();
  Finish(ToGrpc(status));
}

void ScoreCall::OnCancel() {
  if (const auto task = task_.lock()) task->Cancel();
}

void ScoreCall::OnDone() {
  pending_.Release(held_bytes_);
  delete this;
}

}  // namespace flowawr
