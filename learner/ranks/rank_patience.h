// How long a rank that says it lives may take for a micro-batch. Pure.
//
// Slow is not hung: a micro-batch of the true model takes a minute and more on a CPU. Rank 0 computes micro-batches of
// the same size at the same time, so that its own longest says what is usual; while it has finished none, nothing does.
#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace flowawr {

// `timeout` is train.rank_timeout_s; `longest` rank 0's longest micro-batch of this run, 0: none is finished yet.
inline absl::Duration PatienceWithAMicroBatch(absl::Duration timeout, absl::Duration longest) {
  constexpr int kUsuals = 4;
  return longest == absl::ZeroDuration() ? absl::InfiniteDuration() : std::max(timeout, kUsuals * longest);
}

}  // namespace flowawr
