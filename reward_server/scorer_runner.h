// Runs one loaded scorer: a bounded queue of images across all requests, and the threads that score them in batches.
//
//   Score() x requests --images--> queue (bounded) --batches--> threads x Scorer::Score() --results--> Score() returns
//
// Requests take turns, an image each: a large one does not hold up the small ones behind it.
//
// Owned by shared_ptr: the host drops its reference when the scorer is unloaded, requests under way keep theirs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/steady_cond_var.h"
#include "reward_server/score_metrics.h"
#include "reward_server/scorer.h"

namespace flowawr {

struct RunnerOptions {
  int threads = 1;
  size_t max_queued_images = 1024;
  absl::Duration max_wait = absl::Milliseconds(5);  // for a batch to fill; scorers that work image by image never wait
  uint32_t max_side = 4096;                         // pixels of an image; larger ones are BAD_INPUT
  absl::Duration max_image_time = absl::Seconds(30);  // of scoring, for each image of a batch; longer: BROKEN
  absl::Duration stop_grace = absl::Seconds(10);      // Stop() gives up what is not done by then
};

// Thread-safe.
class ScorerRunner {
 public:
  ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options);
  ~ScorerRunner();  // Stop()

  // One result an item, in order, each within the bounds of score_bounds.h, when all are there. Images that find no
  // room in the queue are OVERLOADED at once, whatever is malformed or too large is BAD_INPUT without bothering the
  // scorer. When the deadline, on the scale of MonotonicNow(), passes or the caller `is_gone`, what has not been begun
  // is never computed, the scorer is told that the rest is not wanted, and the call ends as DeadlineExceeded or
  // Cancelled. FailedPrecondition after Stop(). `items` need only live until it returns.
  absl::StatusOr<std::vector<v1::ScoreResult>> Score(absl::Span<const v1::ScoreItem* const> items, absl::Time deadline,
                                                     absl::FunctionRef<bool()> is_gone);

  // Scorer::CheckPrompt(); an exception is OK: it says nothing about the prompt.
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const;

  // Takes nothing new, finishes what is queued within the grace, gives up the rest and joins the threads. Harmless when
  // repeated.
  void Stop();

  // What /metrics and ListScorers tell.
  uint64_t images_scored() const;
  uint64_t errors() const;
  size_t queued_images() const;
  std::optional<absl::Duration> unused_for() const;  // none: it was never asked
  const std::string& version() const { return scorer_->version(); }

 private:
  // One Score() call; lives on its stack. Guarded by mutex_.
  struct Request {
    absl::Span<const v1::ScoreItem* const> items;
    absl::Time deadline;
    std::deque<size_t> queued;  // indices of items that no thread has taken yet
    std::vector<v1::ScoreResult> results;
    size_t unsettled = 0;
    absl::Status end;                       // why it was given up
    std::atomic<bool> is_given_up = false;  // read without the lock
  };
  struct Entry {
    Request* request;
    size_t index;  // of its item and result
  };

  void Enqueue(Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUp(Request& request, absl::Status end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Settle(Request& request, size_t index, v1::ScoreResult result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Until something is queued, and then a little for a batch to fill; or until the runner is stopped.
  void WaitForBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work();
  std::vector<Entry> TakeBatch();
  std::vector<v1::ScoreResult> ScoreBatch(absl::Span<const Entry> batch);

  const std::shared_ptr<Scorer> scorer_;
  const ScorerSeries series_;
  const RunnerOptions options_;
  const size_t batch_size_;
  mutable absl::Mutex mutex_;
  SteadyCondVar has_work_;     // something is queued, or the runner is stopped
  SteadyCondVar has_settled_;  // a request is settled, or has left Score()
  std::set<Request*> requests_ ABSL_GUARDED_BY(mutex_);  // in Score()
  std::deque<Request*> turns_ ABSL_GUARDED_BY(mutex_);   // those with queued images; the front one is served next
  size_t queued_images_ ABSL_GUARDED_BY(mutex_) = 0;     // of all of them
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t images_scored_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t errors_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<std::chrono::steady_clock::time_point> last_used_ ABSL_GUARDED_BY(mutex_);
  absl::Mutex join_mutex_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace flowawr
