#include "reward_server/score_metrics.h"

#include <map>

namespace flowawr {
namespace {

const prometheus::Histogram::BucketBoundaries kSecondsBuckets = {
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100};
const prometheus::Histogram::BucketBoundaries kBatchBuckets = {1, 2, 4, 8, 16, 32, 64, 128, 256};

template <typename Builder>
auto& Make(Builder builder, prometheus::Registry& registry, const char* name, const char* help) {
  return builder.Name(name).Help(help).Register(registry);
}

}  // namespace

void ScorerSeries::CountUse(const std::string& what, double amount) const {
  used->Add({{"scorer", scorer}, {"what", what}}).Increment(amount);
}

ScoreMetrics::ScoreMetrics(prometheus::Registry& registry)
    : seconds_(Make(prometheus::BuildHistogram(), registry, "flowawr_scoring_seconds",
                    "Time of one call of a scorer, which scores a batch of images.")),
      waited_seconds_(Make(prometheus::BuildHistogram(), registry, "flowawr_scorer_wait_seconds",
                           "Time that an image waited for its scorer.")),
      request_seconds_(Make(prometheus::BuildHistogram(), registry, "flowawr_score_request_seconds",
                            "Time from a request's coming to its answer.")),
      batch_images_(Make(prometheus::BuildHistogram(), registry, "flowawr_scoring_batch_images",
                         "Images that a scorer was given at once.")),
      queued_images_(Make(prometheus::BuildGauge(), registry, "flowawr_scorer_queue_images",
                          "Images that wait for a scorer.")),
      is_healthy_(Make(prometheus::BuildGauge(), registry, "flowawr_scorer_healthy",
                       "1; 0 while a call of the scorer does not return.")),
      memory_bytes_(Make(prometheus::BuildGauge(), registry, "flowawr_scorer_memory_bytes",
                         "Of a scorer's weights, those that it shares included.")),
      images_(Make(prometheus::BuildCounter(), registry, "flowawr_scored_images_total",
                   "Images by scorer and what came of them.")),
      used_(Make(prometheus::BuildCounter(), registry, "flowawr_scorer_used_total",
                 "What a scorer used beside time, by what: a judge's requests, tokens and cost.")) {}

ScorerSeries ScoreMetrics::Add(const std::string& scorer) {
  const std::map<std::string, std::string> labels = {{"scorer", scorer}};
  const auto outcome = [&](const char* name) { return &images_.Add({{"scorer", scorer}, {"outcome", name}}); };
  return {
      .seconds = &seconds_.Add(labels, kSecondsBuckets),
      .waited_seconds = &waited_seconds_.Add(labels, kSecondsBuckets),
      .request_seconds = &request_seconds_.Add(labels, kSecondsBuckets),
      .batch_images = &batch_images_.Add(labels, kBatchBuckets),
      .queued_images = &queued_images_.Add(labels),
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
  is_healthy_.Remove(series.is_healthy);
  memory_bytes_.Remove(series.memory_bytes);
}

}  // namespace flowawr
