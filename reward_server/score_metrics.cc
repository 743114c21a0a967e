#include "reward_server/score_metrics.h"

#include <map>

#include "common/telemetry/metric_catalogue.h"

namespace flowawr {
namespace {

const prometheus::Histogram::BucketBoundaries kSecondsBuckets = {
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100};
const prometheus::Histogram::BucketBoundaries kBatchBuckets = {1, 2, 4, 8, 16, 32, 64, 128, 256};

}  // namespace

void ScorerSeries::CountUse(const std::string& what, double amount) const {
  used->Add({{"scorer", scorer}, {"what", what}}).Increment(amount);
}

ScoreMetrics::ScoreMetrics(prometheus::Registry& registry)
    : seconds_(RegisterHistogram(registry, "flowawr_scoring_seconds")),
      waited_seconds_(RegisterHistogram(registry, "flowawr_scorer_wait_seconds")),
      request_seconds_(RegisterHistogram(registry, "flowawr_score_request_seconds")),
      batch_images_(RegisterHistogram(registry, "flowawr_scoring_batch_images")),
      queued_images_(RegisterGauge(registry, "flowawr_scorer_queue_images")),
      queue_limit_images_(RegisterGauge(registry, "flowawr_scorer_queue_limit_images")),
      is_healthy_(RegisterGauge(registry, "flowawr_scorer_healthy")),
      memory_bytes_(RegisterGauge(registry, "flowawr_scorer_memory_bytes")),
      images_(RegisterCounter(registry, "flowawr_scored_images_total")),
      used_(RegisterCounter(registry, "flowawr_scorer_used_total")) {}

ScorerSeries ScoreMetrics::Add(const std::string& scorer) {
  const std::map<std::string, std::string> labels = {{"scorer", scorer}};
  const auto outcome = [&](const char* name) { return &images_.Add({{"scorer", scorer}, {"outcome", name}}); };
  return {
      .seconds = &seconds_.Add(labels, kSecondsBuckets),
      .waited_seconds = &waited_seconds_.Add(labels, kSecondsBuckets),
      .request_seconds = &request_seconds_.Add(labels, kSecondsBuckets),
      .batch_images = &batch_images_.Add(labels, kBatchBuckets),
      .queued_images = &queued_images_.Add(labels),
      .queue_limit_images = &queue_limit_images_.Add(labels),
      .is_healthy = &is_healthy_.Add(labels),
      .memory_bytes = &memory_bytes_.Add(labels),
      .rewards = outcome("reward"),
      .bad_input = outcome("bad_input"),
      .overloaded = outcome("overloaded"),
      .broken = outcome("broken"),
      .used = &used_,
      .scorer = scorer,
  };
}

void ScoreMetrics::Remove(const ScorerSeries& series) {
  seconds_.Remove(series.seconds);
  waited_seconds_.Remove(series.waited_seconds);
  request_seconds_.Remove(series.request_seconds);
  batch_images_.Remove(series.batch_images);
  queued_images_.Remove(series.queued_images);
  queue_limit_images_.Remove(series.queue_limit_images);
  is_healthy_.Remove(series.is_healthy);
  memory_bytes_.Remove(series.memory_bytes);
}

}  // namespace flowawr
