#include "learner/checkpoint_retention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

namespace flowawr {

std::vector<uint64_t> CheckpointsToRemove(std::vector<uint64_t> updates, const std::map<uint64_t, double>& heldout,
                                          const Retention& retention) {
  std::sort(updates.begin(), updates.end());
  std::vector<std::pair<double, uint64_t>> by_reward;
  for (const uint64_t update : updates)
    if (const auto found = heldout.find(update); found != heldout.end() && std::isfinite(found->second))
      by_reward.emplace_back(found->second, update);
  std::sort(by_reward.begin(), by_reward.end(), std::greater<>());
  std::set<uint64_t> best;
  for (const auto& [reward, update] : by_reward)
    if (best.size() < static_cast<size_t>(std::max(retention.keep_best, 0))) best.insert(update);
  const size_t newest = std::min(updates.size(), static_cast<size_t>(std::max(retention.keep, 1)));
  updates.resize(updates.size() - newest);
  std::erase_if(updates, [&](uint64_t update) { return best.contains(update); });
  return updates;
}

}  // namespace flowawr
