#include "learner/batch_parts.h"

#include <algorithm>
#include <utility>

#include "common/diffusion/counter_rng.h"
#include "learner/random_streams.h"

namespace flowawr {

std::vector<SamplesByGroup> PartSamples(uint64_t seed, uint64_t update, const std::vector<int64_t>& samples,
                                        int64_t parts) {
  std::vector<std::pair<size_t, int64_t>> order;
  for (size_t group = 0; group < samples.size(); ++group)
    for (int64_t sample = 0; sample < samples[group]; ++sample) order.emplace_back(group, sample);
  if (parts > 1) {
    CounterRng rng(seed, RandomStream(RandomUse::kBatchParts, update));
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i)]);
  }
  std::vector<SamplesByGroup> result(static_cast<size_t>(parts), SamplesByGroup(samples.size()));
  for (size_t i = 0; i < order.size(); ++i)
    result[i * result.size() / order.size()][order[i].first].push_back(order[i].second);
  for (SamplesByGroup& part : result)
    for (std::vector<int64_t>& of_group : part) std::sort(of_group.begin(), of_group.end());
  return result;
}

}  // namespace flowawr
