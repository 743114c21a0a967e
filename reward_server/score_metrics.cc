#include "reward_server/score_metrics.h"

namespace flowawr {
namespace {

const prometheus::Histogram::BucketBoundaries kSecondsBuckets = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                                                 0.1,    0.2,   0.5,   1,     2,    5,    10};
const prometheus::Histogram::BucketBoundaries kBatchBuckets = {1, 2, 4, 8, 16, 32, 64};

}  // namespace

ScoreMetrics::ScoreMetrics(prometheus::Registry& registry)
    : seconds_(prometheus::BuildHistogram()
                   .Name("flowawr_scoring_seconds")
                   .Help("Time of one call of a scorer, which scores a batch of images.")
                   .Register(registry)),
      batch_images_(prometheus::BuildHistogram()
                        .Name("flowawr_scoring_batch_images")
                        .Help("Images that a scorer was given at once.")
                        .Register(registry)),
      queued_images_(prometheus::BuildGauge()
                         .Name("flowawr_scorer_queue_images")
                         .Help("Images that wait for a scorer.")
                         .Register(registry)),
      images_(prometheus::BuildCounter()
                  .Name("flowawr_scored_images_total")
                  .Help("Images by scorer and what came of them.")
                  .Register(registry)) {}

ScorerSeries ScoreMetrics::Add(const std::string& scorer) {
  return {
      .seconds = &seconds_.Add({{"scorer", scorer}}, kSecondsBuckets),
      .batch_images = &batch_images_.Add({{"scorer", scorer}}, kBatchBuckets),
      .queued_images = &queued_images_.Add({{"scorer", scorer}}),
      .rewards = &images_.Add({{"scorer", scorer}, {"outcome", "reward"}}),
      .bad_input = &images_.Add({{"scorer", scorer}, {"outcome", "bad_input"}}),
      .overloaded = &images_.Add({{"scorer", scorer}, {"outcome", "overloaded"}}),
      .broken = &images_.Add({{"scorer", scorer}, {"outcome", "broken"}}),
  };
}

void ScoreMetrics::Remove(const ScorerSeries& series) {
  seconds_.Remove(series.seconds);
  batch_images_.Remove(series.batch_images);
  queued_images_.Remove(series.queued_images);
}

}  // namespace flowawr
