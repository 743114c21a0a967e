// How long a run takes, from how long a few passes through its model took on this machine. Pure: measures nothing
// (pass_times.h does), reads no clock.
//
// Actors and the learner of a machine take turns in strict mode and share its cores otherwise, so the times of
// sampling, decoding, scoring and training add up either way. What is not in it: loading, encoding prompts,
// checkpoints, waiting.
#pragma once

#include <cstdint>

#include "cli/thread_budget.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Wall seconds with all actors, or all threads of the learner, at work on this machine; divided by what they did.
struct PassTimes {
  double sample_row = 0;   // an image, one solver step
  double decode_row = 0;   // an image
  double train_row = 0;    // a sample at one sigma: forward, loss and backward
  double forward_row = 0;  // the same without a gradient: v_old and v_ref
};

// Tesseract, one core, an image of this many pixels: 3 ms for the embedded model's pictures, and what it takes to read
// larger ones. An assumption; other scorers take what they take.
double AssumedScoringSeconds(int64_t pixels);

// Rows of the batch that one update trains on, and whether it needs v_old by a pass of its own.
struct TrainingWork {
  int64_t rows = 0;
  int64_t micro_batches = 0;
  bool computes_old = false, computes_reference = false;
};
TrainingWork TrainingWorkOf(const v1::RunConfig& config);

// Seconds.
struct TimePlan {
  double sampling = 0, decoding = 0, scoring = 0, training = 0;  // of one update
  double evaluation = 0, first_evaluation = 0;  // each evaluation on the way; each of the first and last
  int64_t updates = 0;
  int64_t evaluations = 0;        // on the way
  int64_t first_evaluations = 0;  // the first and the last

  double update() const { return sampling + decoding + scoring + training; }
  double updating() const { return static_cast<double>(updates) * update(); }
  double evaluating() const {
    return static_cast<double>(evaluations) * evaluation + static_cast<double>(first_evaluations) * first_evaluation;
  }
  double total() const { return updating() + evaluating(); }
};

// `heldout_prompts`: how many the file has; 0 if there is none. `cores` those that scoring may use.
TimePlan PlanTime(const v1::RunConfig& config, const ThreadBudget& budget, int64_t heldout_prompts, int cores,
                  const PassTimes& times);

}  // namespace flowawr
