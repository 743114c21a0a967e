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
  prometheus::Histogram* seconds = nullptr;  // of one Score() call
  prometheus::Histogram* batch_images = nullptr;
  prometheus::Gauge* queued_images = nullptr;
  prometheus::Counter* rewards = nullptr;
  prometheus::Counter* bad_input = nullptr;
  prometheus::Counter* overloaded = nullptr;
  prometheus::Counter* broken = nullptr;
};

// Thread-safe. The registry must outlive it.
class ScoreMetrics {
 public:
  explicit ScoreMetrics(prometheus::Registry& registry);

  ScorerSeries Add(const std::string& scorer);
  // Takes the gauge and histograms of an unloaded scorer off the page. Its counters stay: counters must not fall.
  void Remove(const ScorerSeries& series);

 private:
  prometheus::Family<prometheus::Histogram>& seconds_;
  prometheus::Family<prometheus::Histogram>& batch_images_;
  prometheus::Family<prometheus::Gauge>& queued_images_;
  prometheus::Family<prometheus::Counter>& images_;
};

}  // namespace flowawr
