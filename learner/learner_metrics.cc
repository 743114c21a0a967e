#include "learner/learner_metrics.h"

#include <prometheus/collectable.h>

#include <cmath>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(MetricType type, const char* name, const char* help) {
  MetricFamily family;
  family.type = type;
  family.name = name;
  family.help = help;
  return family;
}

void Add(MetricFamily& family, double value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

MetricFamily Single(MetricType type, const char* name, const char* help, double value) {
  MetricFamily family = Family(type, name, help);
  Add(family, value);
  return family;
}

template <typename Map>
MetricFamily CounterBy(const char* label, const char* name, const char* help, const Map& values) {
  MetricFamily family = Family(MetricType::Counter, name, help);
  for (const auto& [key, value] : values) Add(family, static_cast<double>(value), {{label, key}});
  return family;
}

MetricFamily RewardWeights(const v1::RewardSpec& spec) {
  MetricFamily family = Family(MetricType::Gauge, "flowawr_learner_reward_weight", "of each reward; 0: a shadow");
  for (const v1::RewardSpecTerm& term : spec.terms()) Add(family, term.weight(), {{"scorer", term.scorer()}});
  return family;
}

MetricFamily ShadowFigure(const v1::Status& status, const char* name, const char* help,
                          double (*figure)(const v1::ShadowReward&)) {
  MetricFamily family = Family(MetricType::Gauge, name, help);
  for (const v1::ShadowReward& shadow : status.shadows()) Add(family, figure(shadow), {{"scorer", shadow.scorer()}});
  return family;
}

}  // namespace

std::vector<MetricFamily> MetricsOf(const v1::Status& status) {
  constexpr MetricType kCounter = MetricType::Counter, kGauge = MetricType::Gauge;
  return {
      Single(kCounter, "flowawr_learner_updates_total", "updates done", static_cast<double>(status.update())),
      Single(kCounter, "flowawr_learner_updates_skipped_total", "batches in which every group was all-equal",
             static_cast<double>(status.updates_skipped())),
      Single(kCounter, "flowawr_learner_groups_accepted_total", "training groups accepted",
             static_cast<double>(status.groups_accepted())),
      Single(kCounter, "flowawr_learner_samples_trained_total", "samples trained on",
             static_cast<double>(status.samples_trained())),
      Single(kGauge, "flowawr_learner_reward", "mean reward of the last batch; NaN: missing",
             status.has_reward_mean() ? status.reward_mean() : NAN),
      Single(kGauge, "flowawr_learner_heldout_reward", "mean reward of the last evaluation; NaN: missing",
             status.latest().has_reward_mean() ? status.latest().reward_mean() : NAN),
      Single(kGauge, "flowawr_learner_loss", "loss of the last update that trained; NaN: none did",
             status.has_loss() ? status.loss() : NAN),
      Single(kGauge, "flowawr_learner_gradient_norm", "its gradient norm, before clipping; NaN: as above",
             status.has_grad_norm() ? status.grad_norm() : NAN),
      Single(kGauge, "flowawr_learner_warnings", "what the run goes on in spite of", status.warnings_size()),
      Single(kGauge, "flowawr_learner_open_leases", "leases that actors hold", status.open_leases()),
      Single(kGauge, "flowawr_learner_actors", "actors heard of lately", status.actors_size()),
      Single(kGauge, "flowawr_learner_reward_spec_version", "of the rewards; grows with every swap",
             static_cast<double>(status.reward_spec().version())),
      RewardWeights(status.reward_spec()),
      ShadowFigure(status, "flowawr_learner_shadow_groups", "groups of the newest updates that could be compared",
                   [](const v1::ShadowReward& shadow) { return static_cast<double>(shadow.groups()); }),
      ShadowFigure(status, "flowawr_learner_shadow_rank_correlation",
                   "Spearman's, of a reward of weight 0 with what is trained on; NaN: no group could be compared",
                   [](const v1::ShadowReward& shadow) { return shadow.groups() == 0 ? NAN : shadow.rank_correlation(); }),
      ShadowFigure(status, "flowawr_learner_shadow_best_differs",
                   "share of groups whose best sample is another one; NaN: as above",
                   [](const v1::ShadowReward& shadow) { return shadow.groups() == 0 ? NAN : shadow.best_differs(); }),
      CounterBy("cause", "flowawr_learner_groups_dropped_total", "groups refused or failed, by cause",
                status.dropped()),
      CounterBy("stage", "flowawr_learner_stage_seconds_total", "where the run loop's time went",
                status.learner_seconds()),
  };
}

// A scrape under way may outlive the LearnerMetrics that it began under: it then finds no desk.
class LearnerMetrics::Page : public prometheus::Collectable {
 public:
  explicit Page(const Desk& desk) : desk_(&desk) {}

  std::vector<MetricFamily> Collect() const override {
    absl::MutexLock lock(&mutex_);
    return desk_ == nullptr ? std::vector<MetricFamily>() : MetricsOf(desk_->status());
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    desk_ = nullptr;
  }

 private:
  mutable absl::Mutex mutex_;
  const Desk* desk_ ABSL_GUARDED_BY(mutex_);
};

LearnerMetrics::LearnerMetrics(MetricsServer& server, const Desk& desk) : page_(std::make_shared<Page>(desk)) {
  server.Show(page_);
}

LearnerMetrics::~LearnerMetrics() { page_->Close(); }

}  // namespace flowawr
