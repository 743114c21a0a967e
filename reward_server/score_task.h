// The images of one request on their way through a scorer.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// Shared by who asked and by the calls of the scorer that work on it: a scorer that does not return may read an image
// long after the request has been answered.
class ScoreTask {
 public:
  // Gets one result an item, in order, each within the bounds of score_bounds.h; or why the task was given up:
  // DeadlineExceeded, Cancelled, or FailedPrecondition when the scorer was unloaded. Called once, on any thread.
  using Done = std::function<void(absl::StatusOr<std::vector<v1::ScoreResult>> results)>;

  // `deadline` on the scale of MonotonicNow().
  ScoreTask(std::shared_ptr<const v1::ScoreRequest> request, absl::Time deadline, Done done);

  // Nobody waits any more. What has not been begun is never computed; Done follows soon. Thread-safe, at any time.
  void Cancel() { is_cancelled_ = true; }
  // Whether a result would still be used. Thread-safe.
  bool is_wanted() const { return !is_cancelled_ && !is_over_; }

  const v1::ScoreItem& item(size_t i) const { return request_->items(static_cast<int>(i)); }
  size_t size() const { return results_.size(); }
  absl::Time begun() const { return begun_; }
  absl::Time deadline() const { return deadline_; }

 private:
  friend class ScoreQueue;

  const std::shared_ptr<const v1::ScoreRequest> request_;
  const absl::Time deadline_;
  const absl::Time begun_;
  const Done done_;
  std::atomic<bool> is_cancelled_ = false;
  std::atomic<bool> is_over_ = false;
  // The queue's, under its owner's lock.
  std::deque<size_t> queued_;  // items that no call has taken yet
  size_t taken_ = 0;           // items that were taken while others were left
  std::vector<v1::ScoreResult> results_;
  size_t unsettled_;
  absl::Status end_;  // why it was given up
};

}  // namespace flowawr
