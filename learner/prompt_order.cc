#include "learner/prompt_order.h"

#include <numeric>
#include <utility>

#include "common/diffusion/noise.h"
#include "learner/random_streams.h"

namespace flowawr {

uint64_t PromptOrder::At(uint64_t group_id) {
  const uint64_t epoch = group_id / order_.size();
  if (epoch != epoch_) {
    epoch_ = epoch;
    std::iota(order_.begin(), order_.end(), 0);
    CounterRng rng(run_seed_, RandomStream(RandomUse::kPromptOrder, epoch));
    for (uint64_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.Below(i)]);
  }
  return order_[group_id % order_.size()];
}

}  // namespace flowawr
