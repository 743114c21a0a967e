#include "reward_server/score_queue.h"

#include <algorithm>
#include <utility>

#include "common/base/clock.h"

namespace flowawr {
namespace {

absl::Status CallerHasGone() { return absl::CancelledError("the caller has gone"); }

}  // namespace

ScoreTask::ScoreTask(std::shared_ptr<const v1::ScoreRequest> request, absl::Time deadline, Done done)
    : request_(std::move(request)),
      deadline_(deadline),
      begun_(MonotonicNow()),
      done_(std::move(done)),
      results_(static_cast<size_t>(request_->items_size())),
      unsettled_(results_.size()) {}

void ScoreQueue::Ended::Tell() {
  for (const Task& task : std::exchange(tasks_, {})) {
    if (task->end_.ok()) {
      task->done_(std::move(task->results_));
    } else {
      task->done_(task->end_);
    }
  }
}

void ScoreQueue::Add(const Task& task,
                     absl::FunctionRef<std::unique_ptr<v1::ScoreResult>(const v1::ScoreItem&)> refuse,
                     absl::FunctionRef<v1::ScoreResult()> no_room) {
  tasks_.insert(task);
  const size_t size = task->size();
  for (size_t i = 0; i < size; ++i) {
    if (const auto refusal = refuse(task->item(i)); refusal != nullptr) {
      SettleResult(task, i, std::move(*refusal));
    } else if (queued_images_ >= room_) {
      SettleResult(task, i, no_room());
    } else {
      task->queued_.push_back(i);
      ++queued_images_;
    }
  }
  if (!task->queued_.empty()) turns_.push_back(task);
}

std::vector<ScoreQueue::Entry> ScoreQueue::Take(size_t most, absl::Time now) {
  std::vector<Entry> taken;
  while (!turns_.empty() && taken.size() < most) {
    const Task task = turns_.front();
    if (EndIfUnwanted(task, now)) continue;
    taken.push_back({task, task->queued_.front()});
    task->queued_.pop_front();
    --queued_images_;
    if (!task->queued_.empty() && ++task->taken_ % kImagesOfATurn != 0) continue;
    turns_.pop_front();
    if (!task->queued_.empty()) turns_.push_back(task);
  }
  return taken;
}

std::vector<ScoreQueue::Entry> ScoreQueue::TakeAll() {
  std::vector<Entry> taken;
  for (const Task& task : std::exchange(turns_, {}))
    for (const size_t i : std::exchange(task->queued_, {})) taken.push_back({task, i});
  queued_images_ = 0;
  return taken;
}

void ScoreQueue::Settle(const Entry& entry, v1::ScoreResult result) {
  if (entry.task->is_over_) return;
  // Its scorer may have seen that the caller has gone, and given it up, before anybody else did.
  if (entry.task->is_cancelled_) return End(Task(entry.task), CallerHasGone());
  SettleResult(entry.task, entry.index, std::move(result));
}

void ScoreQueue::SettleResult(const Task& task, size_t index, v1::ScoreResult result) {
  task->results_[index] = std::move(result);
  if (--task->unsettled_ > 0) return;
  End(task, absl::OkStatus());
}

void ScoreQueue::End(const Task& task, absl::Status why) {
  if (!task->queued_.empty()) turns_.erase(std::remove(turns_.begin(), turns_.end(), task), turns_.end());
  queued_images_ -= task->queued_.size();
  task->queued_.clear();
  task->end_ = std::move(why);
  task->is_over_ = true;
  ended_.tasks_.push_back(task);
  tasks_.erase(task);
}

bool ScoreQueue::EndIfUnwanted(const Task& task, absl::Time now) {
  if (now >= task->deadline_) {
    End(task, absl::DeadlineExceededError("the deadline passed before all images were scored"));
  } else if (task->is_cancelled_) {
    End(task, CallerHasGone());
  } else {
    return false;
  }
  return true;
}

void ScoreQueue::EndUnwanted(absl::Time now) {
  const std::vector<Task> tasks(tasks_.begin(), tasks_.end());
  for (const Task& task : tasks) EndIfUnwanted(task, now);
}

void ScoreQueue::EndAll(const absl::Status& why) {
  while (!tasks_.empty()) End(Task(*tasks_.begin()), why);
}

ScoreQueue::Ended ScoreQueue::TakeEnded() { return std::exchange(ended_, {}); }

}  // namespace flowawr
