#include "actor/actor_metrics.h"

namespace flowawr {
namespace {

prometheus::Family<prometheus::Counter>& CounterFamily(prometheus::Registry& registry, const std::string& name,
                                                       const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Gauge>& GaugeFamily(prometheus::Registry& registry, const std::string& name,
                                                   const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

ActorMetrics::ActorMetrics(prometheus::Registry& registry)
    : groups_(CounterFamily(registry, "flowawr_actor_groups_total", "Groups that the learner accepted")),
      samples_(CounterFamily(registry, "flowawr_actor_samples_total", "Samples of accepted groups")),
      lost_groups_(CounterFamily(registry, "flowawr_actor_lost_groups_total", "Leased groups that were not delivered")),
      stage_seconds_(GaugeFamily(registry, "flowawr_actor_stage_seconds", "Seconds spent by stage since the start")),
      queue_depth_(GaugeFamily(registry, "flowawr_actor_queue_groups", "Items waiting for a stage")),
      sessions_(CounterFamily(registry, "flowawr_actor_sessions_total", "Registrations with a learner").Add({})),
      adopted_version_(GaugeFamily(registry, "flowawr_actor_adopted_version", "Newest policy version adopted").Add({})),
      held_leases_(GaugeFamily(registry, "flowawr_actor_held_leases", "Leases under way").Add({})) {}

void ActorMetrics::CountGroup(bool is_evaluation, int samples) {
  const prometheus::Labels labels = {{"purpose", is_evaluation ? "evaluation" : "training"}};
  groups_.Add(labels).Increment();
  samples_.Add(labels).Increment(samples);
}

void ActorMetrics::CountLostGroup(const std::string& cause) { lost_groups_.Add({{"cause", cause}}).Increment(); }

void ActorMetrics::SetStageSeconds(const std::map<std::string, double>& seconds) {
  for (const auto& [stage, value] : seconds) stage_seconds_.Add({{"stage", stage}}).Set(value);
}

}  // namespace flowawr
