#include "cli/thread_budget.h"

#include <algorithm>

namespace flowawr {
namespace {

constexpr int kMostActors = 8;

int Or(int chosen, int fallback) { return chosen > 0 ? chosen : fallback; }

}  // namespace

ThreadBudget BudgetThreads(int cores, const v1::RunConfig& config, int accelerators) {
  cores = std::max(cores, 1);
  ThreadBudget budget;
  budget.actors = Or(config.local().actors(), accelerators > 0 ? accelerators : std::min(cores, kMostActors));
  budget.actor_threads = Or(config.local().actor_threads(), std::max(1, cores / budget.actors));
  budget.learner_threads = Or(config.train().threads(), std::max(1, cores / std::max(1, config.train().ranks())));
  budget.reward_threads = Or(config.local().reward_threads(), cores);
  return budget;
}

}  // namespace flowawr
