// Which checkpoints of a run stay. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace flowawr {

struct Retention {
  int keep = 3;       // the newest; one at least
  int keep_best = 0;  // beside them, those with the best held-out rewards
};

// Of the checkpoints at `updates`, those to remove, ascending. `heldout` has the rewards of the evaluations so far, by
// update, all of the same reward: a checkpoint counts with the evaluation of its own update, and one without is never
// among the best. Of equal rewards the newer is the better.
std::vector<uint64_t> CheckpointsToRemove(std::vector<uint64_t> updates, const std::map<uint64_t, double>& heldout,
                                          const Retention& retention);

}  // namespace flowawr
