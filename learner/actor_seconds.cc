#include "learner/actor_seconds.h"

#include <utility>

namespace flowawr {

std::map<std::string, double> ActorSeconds::Take(const v1::Status& status) {
  std::map<std::string, double> seconds;
  for (const v1::ActorStatus& actor : status.actors()) {
    if (actor.stage_seconds().empty()) continue;  // it has registered and not reported yet
    const auto [taken, is_new] = taken_.try_emplace(actor.actor_id());
    const bool is_baseline = is_new && is_resumed_;
    for (const auto& [stage, total] : actor.stage_seconds()) {
      const double before = std::exchange(taken->second[stage], total);
      if (!is_baseline) seconds[stage] += total < before ? total : total - before;
    }
  }
  return seconds;
}

}  // namespace flowawr
