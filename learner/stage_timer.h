// A stage of the run loop as long as this lives: in its figures, and in the timeline.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "learner/run_figures.h"
#include "learner/run_trace.h"

namespace flowawr {

class StageTimer {
 public:
  // For the making of `update`. Both outlive it.
  StageTimer(RunFigures& figures, RunTrace& trace, std::string stage, uint64_t update)
      : figures_(figures), trace_(trace), stage_(std::move(stage)), update_(update) {
    figures_.BeginStage(stage_);
  }
  ~StageTimer() {
    figures_.EndStage();
    trace_.Stage(stage_, date_, MonotonicNow() - started_, update_);
  }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  RunFigures& figures_;
  RunTrace& trace_;
  const std::string stage_;
  const uint64_t update_;
  const absl::Time started_ = MonotonicNow();
  const absl::Time date_ = absl::Now();
};

}  // namespace flowawr
