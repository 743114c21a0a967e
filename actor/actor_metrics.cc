#include "actor/actor_metrics.h"

#include <utility>

#include "common/telemetry/metric_catalogue.h"

namespace flowawr {
namespace {

using State = CircuitBreaker::State;

// Shown from the beginning: of a counter that begins above 0 nobody sees that it grew.
constexpr const char* kCauses[] = {"actor_stopping", "decode_failed",    "dropped",       "encode_failed",
                                   "late",           "policy_failed",    "reward_bad_input", "reward_failed",
                                   "reward_unreachable", "sample_failed", "submit_failed", "submit_refused"};
constexpr const char* kStages[] = {"encode", "sample", "decode", "score", "submit", "idle"};
constexpr const char* kPolicySources[] = {"learner", "peer"};
constexpr const char* kPeerFailures[] = {"not_held", "refused", "silent", "unreachable", "wrong_bytes"};
constexpr std::pair<State, const char*> kStates[] = {
    {State::kClosed, "closed"}, {State::kOpen, "open"}, {State::kHalfOpen, "half_open"}};

}  // namespace

ActorMetrics::ActorMetrics(prometheus::Registry& registry)
    : groups_(RegisterCounter(registry, "flowawr_actor_groups_total")),
      samples_(RegisterCounter(registry, "flowawr_actor_samples_total")),
      lost_groups_(RegisterCounter(registry, "flowawr_actor_lost_groups_total")),
      stage_seconds_(RegisterCounter(registry, "flowawr_actor_stage_seconds_total")),
      queue_depth_(RegisterGauge(registry, "flowawr_actor_queue_groups")),
      policy_fetches_(RegisterCounter(registry, "flowawr_actor_policy_fetches_total")),
      peer_failures_(RegisterCounter(registry, "flowawr_actor_policy_peer_failures_total")),
      retries_(RegisterCounter(registry, "flowawr_actor_retries_total")),
      breaker_(RegisterGauge(registry, "flowawr_actor_reward_breaker")),
      reward_calls_(RegisterGauge(registry, "flowawr_actor_reward_calls")),
      sessions_(RegisterCounter(registry, "flowawr_actor_sessions_total").Add({})),
      score_retries_(retries_.Add({{"what", "score"}})),
      submit_retries_(retries_.Add({{"what", "submit"}})),
      adopted_version_(RegisterGauge(registry, "flowawr_actor_adopted_version").Add({})),
      announced_version_(RegisterGauge(registry, "flowawr_actor_announced_version").Add({})),
      held_leases_(RegisterGauge(registry, "flowawr_actor_held_leases").Add({})) {
  for (const char* purpose : {"training", "evaluation"}) {
    groups_.Add({{"purpose", purpose}});
    samples_.Add({{"purpose", purpose}});
  }
  for (const char* cause : kCauses) lost_groups_.Add({{"cause", cause}});
  for (const char* source : kPolicySources) policy_fetches_.Add({{"source", source}});
  for (const char* cause : kPeerFailures) peer_failures_.Add({{"cause", cause}});
  for (const char* stage : kStages) stage_seconds_.Add({{"stage", stage}});
  for (const char* stage : {"sample", "score"}) queue_depth_.Add({{"stage", stage}});
}

void ActorMetrics::CountGroup(bool is_evaluation, int samples) {
  const prometheus::Labels labels = {{"purpose", is_evaluation ? "evaluation" : "training"}};
  groups_.Add(labels).Increment();
  samples_.Add(labels).Increment(samples);
}

void ActorMetrics::CountLostGroup(const std::string& cause) { lost_groups_.Add({{"cause", cause}}).Increment(); }

void ActorMetrics::CountPolicyFetch(const std::string& source) {
  policy_fetches_.Add({{"source", source}}).Increment();
}

void ActorMetrics::CountPeerFailure(const std::string& cause) { peer_failures_.Add({{"cause", cause}}).Increment(); }

void ActorMetrics::SetQueueDepth(const std::string& stage, size_t groups) {
  queue_depth_.Add({{"stage", stage}}).Set(static_cast<double>(groups));
}

void ActorMetrics::RaiseTo(prometheus::Counter& counter, double total) {
  const double more = total - counter.Value();
  if (more > 0) counter.Increment(more);
}

void ActorMetrics::SetStageSeconds(const std::map<std::string, double>& seconds) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [stage, total] : seconds) RaiseTo(stage_seconds_.Add({{"stage", stage}}), total);
}

void ActorMetrics::SetScoring(const std::vector<ScoringClient::EndpointState>& endpoints, uint64_t retries) {
  absl::MutexLock lock(&mutex_);
  RaiseTo(score_retries_, static_cast<double>(retries));
  std::map<std::string, Shown> before = std::exchange(endpoints_, {});
  for (const ScoringClient::EndpointState& endpoint : endpoints) {
    auto known = before.extract(endpoint.address);
    Shown shown;
    if (known) {
      shown = std::move(known.mapped());
    } else {
      for (const auto& [state, name] : kStates)
        shown.states.push_back(&breaker_.Add({{"endpoint", endpoint.address}, {"state", name}}));
      shown.calls = &reward_calls_.Add({{"endpoint", endpoint.address}});
    }
    for (size_t i = 0; i < std::size(kStates); ++i) shown.states[i]->Set(endpoint.breaker == kStates[i].first);
    shown.calls->Set(endpoint.calls);
    endpoints_.emplace(endpoint.address, std::move(shown));
  }
  for (const auto& [address, gone] : before) {
    for (prometheus::Gauge* gauge : gone.states) breaker_.Remove(gauge);
    reward_calls_.Remove(gone.calls);
  }
}

}  // namespace flowawr
