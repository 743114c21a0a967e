// Runs one loaded scorer: a bounded queue of images across all requests, and the threads that score them in batches.
//
//   Score() x tasks --images--> ScoreQueue --batches--> threads x Scorer::Score() --results--> each task's Done
//                                        \--- watch thread: deadlines, callers that have gone, calls that do not return
//
// No thread waits for a task. What the threads share lives as long as the last of them: a call that never returns keeps
// the scorer and the images it is at, and nothing else.
//
// A call is stuck when it does not return within max_image_time for each of its images, though the scorer was told that
// it takes too long, and stuck_after more. Then its images, all that wait and all that come are BROKEN, until every
// stuck call has returned.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "reward_server/runner_options.h"
#include "reward_server/score_metrics.h"
#include "reward_server/score_task.h"
#include "reward_server/scorer.h"

namespace flowawr {

// Thread-safe.
class ScorerRunner {
 public:
  // `on_health`, if any, is told whenever the scorer gets stuck or is well again; never after Stop().
  ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options,
               std::function<void(bool is_healthy)> on_health = nullptr);
  ~ScorerRunner();  // Stop() without grace

  // Has `task`, of one item at least, scored; its Done may be called before this returns. Images that find no room in
  // the queue are OVERLOADED at once, whatever is malformed or too large is BAD_INPUT without bothering the scorer.
  // FailedPrecondition after Stop(): Done is then not called.
  absl::Status Score(const std::shared_ptr<ScoreTask>& task);

  // Scorer::CheckPrompt(); an exception is OK: it says nothing about the prompt.
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const;

  // Takes nothing new, finishes what is queued within `grace`, gives up the rest and ends the threads. A thread whose
  // call does not return even then is left alone: it frees the scorer when it does. Harmless when repeated.
  void Stop(absl::Duration grace);
  // Whether Stop() left such a thread. The process must then end without destroying what the scorer uses.
  bool has_left_a_call() const;

  // Everything of ScorerInfo but the name, the kind and the options.
  v1::ScorerInfo Info() const;
  const std::string& version() const;
  const std::string& weights_sha256() const;

 private:
  class Core;

  const std::shared_ptr<Core> core_;
  mutable absl::Mutex join_mutex_;
  std::vector<std::thread> workers_ ABSL_GUARDED_BY(join_mutex_);
  std::thread watch_ ABSL_GUARDED_BY(join_mutex_);
  bool has_left_a_call_ ABSL_GUARDED_BY(join_mutex_) = false;
};

}  // namespace flowawr
