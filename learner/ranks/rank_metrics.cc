#include "learner/ranks/rank_metrics.h"

#include <string>

#include "common/telemetry/metric_catalogue.h"

namespace flowawr {

RankMetrics::RankMetrics(prometheus::Registry& registry, int ranks)
    : exchange_seconds_(RegisterCounter(registry, "flowawr_learner_rank_exchange_seconds_total")),
      losses_(RegisterCounter(registry, "flowawr_learner_rank_losses_total")),
      awaited_(RegisterGauge(registry, "flowawr_learner_awaited_ranks").Add({})) {
  for (const char* stage : {"send", "receive", "add"}) AddExchangeSeconds(stage, 0);
  for (int rank = 1; rank < ranks; ++rank) losses_.Add({{"rank", std::to_string(rank)}});
}

void RankMetrics::AddExchangeSeconds(const char* stage, double seconds) {
  exchange_seconds_.Add({{"stage", stage}}).Increment(seconds);
}

void RankMetrics::AddLoss(int rank) { losses_.Add({{"rank", std::to_string(rank)}}).Increment(); }

void RankMetrics::SetAwaited(size_t ranks) { awaited_.Set(static_cast<double>(ranks)); }

}  // namespace flowawr
