#include "learner/learner_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>

#include <atomic>
#include <string>
#include <thread>

namespace flowawr {

// Follows the desk's status in a thread of its own: prometheus-cpp has no call-back at scrape time for a registry.
struct LearnerMetrics::Gauges {
  Gauges(prometheus::Registry& registry, Desk& desk_to_follow)
      : updates(Counter(registry, "flowawr_learner_updates_total", "updates done")),
        skipped(Counter(registry, "flowawr_learner_updates_skipped_total", "batches in which every group was all-equal")),
        groups(Counter(registry, "flowawr_learner_groups_accepted_total", "training groups accepted")),
        samples(Counter(registry, "flowawr_learner_samples_trained_total", "samples trained on")),
        reward(Gauge(registry, "flowawr_learner_reward", "mean reward of the last batch")),
        heldout(Gauge(registry, "flowawr_learner_heldout_reward", "mean reward of the last evaluation")),
        loss(Gauge(registry, "flowawr_learner_loss", "loss of the last update")),
        norm(Gauge(registry, "flowawr_learner_gradient_norm", "gradient norm of the last update, before clipping")),
        leases(Gauge(registry, "flowawr_learner_open_leases", "leases that actors hold")),
        actors(Gauge(registry, "flowawr_learner_actors", "actors heard of lately")),
        dropped(prometheus::BuildCounter()
                    .Name("flowawr_learner_groups_dropped_total")
                    .Help("groups refused or failed, by cause")
                    .Register(registry)),
        seconds(prometheus::BuildCounter()
                    .Name("flowawr_learner_stage_seconds_total")
                    .Help("where the run loop's time went")
                    .Register(registry)),
        desk(desk_to_follow),
        follower([this] { Follow(); }) {}
  ~Gauges() {
    is_stopping = true;
    follower.join();
  }

  static prometheus::Counter& Counter(prometheus::Registry& registry, const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }
  static prometheus::Gauge& Gauge(prometheus::Registry& registry, const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  }
  static void Raise(prometheus::Counter& counter, double value) {
    if (value > counter.Value()) counter.Increment(value - counter.Value());
  }

  void Follow() {
    uint64_t seen = 0;
    absl::Time next = absl::InfinitePast();
    while (!is_stopping) {
      const v1::Status status = desk.WaitForStatus(&seen, next, absl::Milliseconds(200));
      next = absl::Now() + absl::Milliseconds(200);
      Raise(updates, static_cast<double>(status.update()));
      Raise(skipped, static_cast<double>(status.updates_skipped()));
      Raise(groups, static_cast<double>(status.groups_accepted()));
      Raise(samples, static_cast<double>(status.samples_trained()));
      reward.Set(status.reward_mean());
      heldout.Set(status.latest().reward_mean());
      loss.Set(status.loss());
      norm.Set(status.grad_norm());
      leases.Set(status.open_leases());
      actors.Set(status.actors_size());
      for (const auto& [cause, count] : status.dropped()) Raise(dropped.Add({{"cause", cause}}), static_cast<double>(count));
      for (const auto& [stage, value] : status.learner_seconds()) Raise(seconds.Add({{"stage", stage}}), value);
    }
  }

  prometheus::Counter &updates, &skipped, &groups, &samples;
  prometheus::Gauge &reward, &heldout, &loss, &norm, &leases, &actors;
  prometheus::Family<prometheus::Counter>&dropped, &seconds;
  Desk& desk;
  std::atomic<bool> is_stopping = false;
  std::thread follower;
};

LearnerMetrics::LearnerMetrics(prometheus::Registry& registry, Desk& desk)
    : gauges_(std::make_unique<Gauges>(registry, desk)) {}
LearnerMetrics::~LearnerMetrics() = default;

}  // namespace flowawr
