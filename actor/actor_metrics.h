// What /metrics of an actor shows. Thread-safe.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <map>
#include <string>

namespace flowawr {

class ActorMetrics {
 public:
  explicit ActorMetrics(prometheus::Registry& registry);

  void CountGroup(bool is_evaluation, int samples);  // accepted by the learner
  void CountLostGroup(const std::string& cause);     // failed, dropped or refused
  void CountSession() { sessions_.Increment(); }     // registrations
  void SetAdoptedVersion(uint64_t version) { adopted_version_.Set(version); }
  void SetHeldLeases(size_t leases) { held_leases_.Set(leases); }
  void SetQueueDepth(const std::string& stage, size_t groups) { queue_depth_.Add({{"stage", stage}}).Set(groups); }
  void SetStageSeconds(const std::map<std::string, double>& seconds);

 private:
  prometheus::Family<prometheus::Counter>& groups_;
  prometheus::Family<prometheus::Counter>& samples_;
  prometheus::Family<prometheus::Counter>& lost_groups_;
  prometheus::Family<prometheus::Gauge>& stage_seconds_;
  prometheus::Family<prometheus::Gauge>& queue_depth_;
  prometheus::Counter& sessions_;
  prometheus::Gauge& adopted_version_;
  prometheus::Gauge& held_leases_;
};

}  // namespace flowawr
