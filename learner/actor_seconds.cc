#include "learner/actor_seconds.h"

#include <utility>

namespace flowawr {

std::map<std::string, double> ActorSeconds::Take(const std::map<std::string, std::map<std::string, double>>& totals) {
  std::map<std::string, double> seconds;
  for (const auto& [actor, stages] : totals) {
    if (stages.empty()) continue;  // it has registered and not reported yet
    const auto [taken, is_new] = taken_.try_emplace(actor);
    const bool is_baseline = is_new && is_resumed_;
    for (const auto& [stage, total] : stages) {
      const double before = std::exchange(taken->second[stage], total);
      if (!is_baseline) seconds[stage] += total < before ? total : total - before;
    }
  }
  return seconds;
}

}  // namespace flowawr
