// How the cores of one machine are shared among the processes of a run.
//
// In strict mode actors sample while the learner waits and the learner trains while actors wait, so that each side may
// have all cores; scoring overlaps with sampling only for moments. Pure.
#pragma once

#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ThreadBudget {
  int actors = 1;
  int actor_threads = 1;  // of each actor
  int learner_threads = 1;
  int reward_threads = 1;  // of the local reward server

  bool operator==(const ThreadBudget&) const = default;
};

// What `config` sets is kept; its zeros are filled in for `cores` (below 1 counts as 1): one actor each of the
// `accelerators` that actors may sample on, or without any one a core, at most 8; the cores divided among them; the
// learner and the reward server a thread a core.
ThreadBudget BudgetThreads(int cores, const v1::RunConfig& config, int accelerators = 0);

}  // namespace flowawr
