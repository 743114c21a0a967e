// What the run loop measures of its own time: where it goes, and how long the run has trained. It owns these figures and
// shows them on the status board. Thread-safe; stages and pauses are those of one thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "learner/status_board.h"

namespace flowawr {

class RunFigures {
 public:
  // `elapsed_before`: seconds that the run has trained before this process. `board` has the same clock; both outlive it.
  RunFigures(double elapsed_before, StatusBoard* board, const Clock* clock)
      : elapsed_before_(elapsed_before), board_(*board), clock_(*clock), made_at_(clock->Now()) {}

  // What the run loop is at, one stage at a time; the board shows it as it goes on.
  void BeginStage(const std::string& stage);
  void EndStage();
  // By stage, of those that have ended, since the last call.
  std::map<std::string, double> TakeStageSeconds();

  // Between them no time passes for elapsed_s().
  void BeginPause();
  void EndPause();
  // The time that the run needed, over all its processes, as it would have needed it without pauses.
  double elapsed_s() const;

 private:
  const double elapsed_before_;
  StatusBoard& board_;
  const Clock& clock_;
  const absl::Time made_at_;
  mutable absl::Mutex mutex_;  // before the board's
  std::string stage_ ABSL_GUARDED_BY(mutex_);
  absl::Time stage_since_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double> stage_seconds_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double> taken_ ABSL_GUARDED_BY(mutex_);  // of stage_seconds_, by TakeStageSeconds()
  absl::Duration paused_ ABSL_GUARDED_BY(mutex_);                // in pauses that are over
  std::optional<absl::Time> paused_since_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
