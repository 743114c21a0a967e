// A task asked of a runner, and its answer.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/steady_cond_var.h"
#include "reward_server/scorer_runner.h"

namespace flowawr {

// A request for `items`.
inline std::shared_ptr<const v1::ScoreRequest> RequestFor(const std::vector<v1::ScoreItem>& items) {
  auto request = std::make_shared<v1::ScoreRequest>();
  for (const v1::ScoreItem& item : items) *request->add_items() = item;
  return request;
}

class Asked {
 public:
  using Results = absl::StatusOr<std::vector<v1::ScoreResult>>;

  Asked(ScorerRunner& runner, const std::vector<v1::ScoreItem>& items, absl::Time deadline = absl::InfiniteFuture())
      : task_(std::make_shared<ScoreTask>(RequestFor(items), deadline, [answer = answer_](Results results) {
          answer->results = std::move(results);
          answer->is_there.Notify();
        })) {
    const absl::Status status = runner.Score(task_);
    if (status.ok()) return;
    answer_->results = status;
    answer_->is_there.Notify();
  }

  // The answer; Unknown when there is none within `patience`.
  Results Wait(absl::Duration patience = absl::Minutes(2)) {
    if (!answer_->is_there.WaitForNotificationWithTimeout(patience)) return absl::UnknownError("no answer");
    return answer_->results;
  }
  bool is_answered() const { return answer_->is_there.HasBeenNotified(); }
  void Cancel() { task_->Cancel(); }

 private:
  struct Answer {
    SteadyNotification is_there;
    Results results = absl::UnknownError("none");
  };
  const std::shared_ptr<Answer> answer_ = std::make_shared<Answer>();
  const std::shared_ptr<ScoreTask> task_;
};

}  // namespace flowawr
