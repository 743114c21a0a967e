// What is asked of a scorer: the tasks, and which of their images wait. Decides, does nothing by itself.
//
// Tasks take turns, some images each: a large one holds up the small ones behind it for no longer than that, and small
// ones are answered in the order in which they came, which keeps the slowest answers near the others. A task is over when
// all its images are settled, or when it is given up; then its Done is due, and whatever else comes for it is dropped.
//
// Not thread-safe: its owner guards it. Done is called by EndedTasks::Tell(), without that lock.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "reward_server/score_task.h"

namespace flowawr {

class ScoreQueue {
 public:
  static constexpr size_t kImagesOfATurn = 8;  // as many as a call of this project's clients has

  using Task = std::shared_ptr<ScoreTask>;
  struct Entry {
    Task task;
    size_t index;  // of its item and result
  };
  // Tasks that are over and have not been told.
  class Ended {
   public:
    void Tell();  // each task's Done; call it once
    const std::vector<Task>& tasks() const { return tasks_; }

   private:
    friend class ScoreQueue;
    std::vector<Task> tasks_;
  };

  explicit ScoreQueue(size_t room) : room_(room) {}

  // For each image of `task`: settled with what `refuse` gives; else queued; else settled with what `no_room` gives.
  void Add(const Task& task, absl::FunctionRef<std::unique_ptr<v1::ScoreResult>(const v1::ScoreItem&)> refuse,
           absl::FunctionRef<v1::ScoreResult()> no_room);
  // The next images of tasks that are still wanted, at most `most`. Tasks that are not are given up on the way.
  std::vector<Entry> Take(size_t most, absl::Time now);
  // All that wait, of whatever task.
  std::vector<Entry> TakeAll();
  // The result of an image that Take() gave.
  void Settle(const Entry& entry, v1::ScoreResult result);
  // Gives up what was cancelled or is too late.
  void EndUnwanted(absl::Time now);
  void EndAll(const absl::Status& why);
  Ended TakeEnded();

  bool is_empty() const { return tasks_.empty(); }  // no task that is not over
  bool has_ended() const { return !ended_.tasks_.empty(); }
  size_t queued_images() const { return queued_images_; }

 private:
  void End(const Task& task, absl::Status why);
  bool EndIfUnwanted(const Task& task, absl::Time now);
  void SettleResult(const Task& task, size_t index, v1::ScoreResult result);

  const size_t room_;
  std::set<Task> tasks_;    // not over
  std::deque<Task> turns_;  // those with queued images; the front one is next
  size_t queued_images_ = 0;
  Ended ended_;
};

}  // namespace flowawr
