// Runs one loaded scorer: a bounded queue of images across all requests, and the threads that score them in batches.
//
//   Score() x requests --images--> queue (bounded) --batches--> threads x Scorer::Score() --results--> Score() returns
//
// Owned by shared_ptr: the host drops its reference when the scorer is unloaded, requests under way keep theirs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "reward_server/score_metrics.h"
#include "reward_server/scorer.h"

namespace flowawr {

struct RunnerOptions {
  int threads = 1;
  size_t max_queued_images = 1024;
  absl::Duration max_wait = absl::Milliseconds(5);  // for a batch to fill; scorers that work image by image never wait
};

// Thread-safe.
class ScorerRunner {
 public:
  ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options);
  ~ScorerRunner();  // Stop()

  // One result an item, in order, when all are there. Images that find no room in the queue are OVERLOADED at once,
  // whatever is malformed is BAD_INPUT without bothering the scorer. What has not been begun when the deadline passes
  // or the caller `is_gone` is never computed, and the call ends as DeadlineExceeded or Cancelled. FailedPrecondition
  // after Stop(). `items` need only live until it returns.
  absl::StatusOr<std::vector<v1::ScoreResult>> Score(absl::Span<const v1::ScoreItem* const> items, absl::Time deadline,
                                                     absl::FunctionRef<bool()> is_gone);

  // Takes nothing new, finishes what is queued and joins the threads. Harmless when repeated.
  void Stop();

  // What /metrics and ListScorers tell.
  uint64_t images_scored() const;
  uint64_t errors() const;
  size_t queued_images() const;
  const std::string& version() const { return scorer_->version(); }

 private:
  // One Score() call; lives on its stack. Guarded by mutex_.
  struct Request {
    std::vector<v1::ScoreResult> results;
    size_t unsettled = 0;
    bool is_given_up = false;
  };
  struct Entry {
    const v1::ScoreItem* item;
    Request* request;
    size_t index;  // of its result
    absl::Time deadline;
  };

  void Enqueue(absl::Span<const v1::ScoreItem* const> items, absl::Time deadline, Request& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUp(Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Settle(Request& request, size_t index, v1::ScoreResult result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasWorkOrStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return is_stopped_ || !queue_.empty(); }
  bool HasBatchOrStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_stopped_ || queue_.size() >= batch_size_;
  }
  void Work();
  std::vector<Entry> TakeBatch();
  std::vector<v1::ScoreResult> ScoreBatch(absl::Span<const Entry> batch);

  const std::shared_ptr<Scorer> scorer_;
  const ScorerSeries series_;
  const RunnerOptions options_;
  const size_t batch_size_;
  mutable absl::Mutex mutex_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mutex_);  // every entry's request is still waiting in Score()
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t images_scored_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t errors_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Mutex join_mutex_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace flowawr
