// What /metrics of an actor shows. Thread-safe.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/scoring/scoring_client.h"

namespace flowawr {

class ActorMetrics {
 public:
  explicit ActorMetrics(prometheus::Registry& registry);

  void CountGroup(bool is_evaluation, int samples);  // accepted by the learner
  void CountLostGroup(const std::string& cause);     // failed, dropped or refused
  void CountSession() { sessions_.Increment(); }     // registrations
  void CountPolicyFetch(const std::string& source);  // learner, peer
  void CountPeerFailure(const std::string& cause);   // as PeerFailure()
  void CountSubmitRetry() { submit_retries_.Increment(); }
  void SetAdoptedVersion(uint64_t version) { adopted_version_.Set(static_cast<double>(version)); }
  void SetAnnouncedVersion(uint64_t version) { announced_version_.Set(static_cast<double>(version)); }
  void SetHeldLeases(size_t leases) { held_leases_.Set(static_cast<double>(leases)); }
  void SetQueueDepth(const std::string& stage, size_t groups);
  // Totals since the start.
  void SetStageSeconds(const std::map<std::string, double>& seconds);
  // As they are now; a server that is not among them any more is not shown any more.
  void SetScoring(const std::vector<ScoringClient::EndpointState>& endpoints, uint64_t retries);

 private:
  // Makes `counter` show `total`, unless that would take it back.
  static void RaiseTo(prometheus::Counter& counter, double total);

  prometheus::Family<prometheus::Counter>& groups_;
  prometheus::Family<prometheus::Counter>& samples_;
  prometheus::Family<prometheus::Counter>& lost_groups_;
  prometheus::Family<prometheus::Counter>& stage_seconds_;
  prometheus::Family<prometheus::Gauge>& queue_depth_;
  prometheus::Family<prometheus::Counter>& policy_fetches_;
  prometheus::Family<prometheus::Counter>& peer_failures_;
  prometheus::Family<prometheus::Counter>& retries_;
  prometheus::Family<prometheus::Gauge>& breaker_;
  prometheus::Family<prometheus::Gauge>& reward_calls_;
  prometheus::Counter& sessions_;
  prometheus::Counter& score_retries_;
  prometheus::Counter& submit_retries_;
  prometheus::Gauge& adopted_version_;
  prometheus::Gauge& announced_version_;
  prometheus::Gauge& held_leases_;

  absl::Mutex mutex_;
  struct Shown {
    std::vector<prometheus::Gauge*> states;  // in the order of kStates
    prometheus::Gauge* calls = nullptr;
  };
  std::map<std::string, Shown> endpoints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
