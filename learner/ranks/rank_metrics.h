// What rank 0 counts of the other ranks, for its /metrics page. Thread-safe.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cstddef>

namespace flowawr {

// The registry must outlive it.
class RankMetrics {
 public:
  // Of a run of `ranks` ranks, rank 0 included.
  RankMetrics(prometheus::Registry& registry, int ranks);

  // Spent on gradients beside computing them; `stage` is send, receive or add.
  void AddExchangeSeconds(const char* stage, double seconds);
  void AddLoss(int rank);
  // For how many ranks the update waits.
  void SetAwaited(size_t ranks);

 private:
  prometheus::Family<prometheus::Counter>& exchange_seconds_;
  prometheus::Family<prometheus::Counter>& losses_;
  prometheus::Gauge& awaited_;
};

}  // namespace flowawr
