// What the reward server shows on /metrics.
#pragma once

#include <string>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace flowawr {

// The series of one loaded scorer; valid until ScoreMetrics::Remove(). Thread-safe.
struct ScorerSeries {
  prometheus::Histogram* seconds = nullptr;  // of one call of the scorer
  prometheus::Histogram* waited_seconds = nullptr;
  prometheus::Histogram* request_seconds = nullptr;
  prometheus::Histogram* batch_images = nullptr;
  prometheus::Gauge* queued_images = nullptr;
  prometheus::Gauge* queue_limit_images = nullptr;
  prometheus::Gauge* is_healthy = nullptr;
  prometheus::Gauge* memory_bytes = nullptr;
  prometheus::Counter* rewards = nullptr;
  prometheus::Counter* bad_input = nullptr;
  prometheus::Counter* overloaded = nullptr;
  prometheus::Counter* broken = nullptr;
  prometheus::Family<prometheus::Counter>* used = nullptr;
  std::string scorer;

  // Of what a scorer uses beside time: see Scorer::TakeUse().
  void CountUse(const std::string& what, double amount) const;
};

// Thread-safe. The registry must outlive it.
class ScoreMetrics {
 public:
  explicit ScoreMetrics(prometheus::Registry& registry);

  ScorerSeries Add(const std::string& scorer);
  // Takes the gauges and histograms of an unloaded scorer off the page. Its counters stay: counters must not fall.
  void Remove(const ScorerSeries& series);

 private:
  prometheus::Family<prometheus::Histogram>& seconds_;
  prometheus::Family<prometheus::Histogram>& waited_seconds_;
  prometheus::Family<prometheus::Histogram>& request_seconds_;
  prometheus::Family<prometheus::Histogram>& batch_images_;
  prometheus::Family<prometheus::Gauge>& queued_images_;
  prometheus::Family<prometheus::Gauge>& queue_limit_images_;
  prometheus::Family<prometheus::Gauge>& is_healthy_;
  prometheus::Family<prometheus::Gauge>& memory_bytes_;
  prometheus::Family<prometheus::Counter>& images_;
  prometheus::Family<prometheus::Counter>& used_;
};

}  // namespace flowawr
