#include "bench/control_plane/adapter_fleet.h"

#include <prometheus/registry.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "actor/learner_client.h"
#include "actor/peer_client.h"
#include "actor/peer_server.h"
#include "actor/policy_fetcher.h"
#include "common/base/clock.h"

namespace flowawr {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{256} << 20;

v1::NetworkConfig Network() {
  v1::NetworkConfig network;
  network.set_max_message_mib(64);
  return network;
}

class FleetActor {
 public:
  FleetActor(const std::string& endpoint, int number, bool serves_peers)
      : server_(serves_peers ? PeerServer::Start("127.0.0.1:0", network_).value() : nullptr),
        learner_(LearnerClient::Create(endpoint, network_, absl::StrCat("actor-", number),
                                       serves_peers ? server_->endpoint() : "")
                     .value()),
        fetcher_({.learner = [this](uint64_t version, uint64_t max,
                                    const auto& failed) { return learner_->FetchPolicy(version, max, failed); },
                  .find = [this](uint64_t version, uint64_t max,
                                 const auto& failed) { return learner_->FindPolicy(version, max, failed); },
                  .peer = [this](const std::string& at, const v1::PolicyVersion& policy, absl::Time give_up) {
                    return peers_.Fetch(at, policy, learner_->fetch_key(), give_up);
                  }},
                 serves_peers ? &server_->held() : nullptr, &metrics_) {}

  absl::Status Register() {
    const absl::Status registered = learner_->Register({{"transformer", "0123456789abcdef"}}, "cpu").status();
    if (server_ != nullptr) server_->held().SetFetchKey(learner_->fetch_key());
    return registered;
  }

  // Gets every version that is published, until Stop().
  void FollowVersions() {
    learner_->WatchPolicy([this](const v1::PolicyVersion& policy) {
      fetcher_.Announced(policy);
      const absl::StatusOr<FetchedPolicy> fetched = fetcher_.Fetch(policy.version(), kMaxBytes);
      const bool has_it = fetched.ok() && fetched->header.blob().sha256() == policy.sha256() &&
                          learner_->ReportAdoption(policy, policy.modules()).ok();
      const absl::MutexLock lock(&mutex_);
      got_.push_back({has_it, MonotonicNow()});
    }).IgnoreError();
    const absl::MutexLock lock(&mutex_);
    is_over_ = true;
  }
  void Stop() { learner_->CancelWaits(); }

  struct Got {
    bool has_it = false;
    absl::Time at;
  };
  // Waits for it; of one that will never come, that it does not have it.
  Got Version(size_t number) {
    const absl::MutexLock lock(&mutex_);
    const auto has_come = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_over_ || got_.size() > number; };
    mutex_.Await(absl::Condition(&has_come));
    return number < got_.size() ? got_[number] : Got{false, MonotonicNow()};
  }
  // Of all versions.
  double fetches_from_peers() const {
    for (const auto& family : registry_.Collect())
      if (family.name == "flowawr_actor_policy_fetches_total")
        for (const auto& metric : family.metric)
          if (metric.label.front().value == "peer") return metric.counter.value;
    return 0;
  }

 private:
  const v1::NetworkConfig network_ = Network();
  prometheus::Registry registry_;
  ActorMetrics metrics_{registry_};
  const std::unique_ptr<PeerServer> server_;
  const std::unique_ptr<LearnerClient> learner_;
  PeerClient peers_{network_};
  PolicyFetcher fetcher_;
  absl::Mutex mutex_;
  std::vector<Got> got_ ABSL_GUARDED_BY(mutex_);
  bool is_over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::vector<FleetFigures> RunFleet(const std::string& endpoint, int actors, bool serves_peers, int versions,
                                   const std::function<absl::Time()>& publish) {
  std::vector<std::unique_ptr<FleetActor>> fleet;
  for (int i = 0; i < actors; ++i) {
    fleet.push_back(std::make_unique<FleetActor>(endpoint, i, serves_peers));
    if (!fleet.back()->Register().ok()) return {static_cast<size_t>(versions), FleetFigures{.without = actors}};
  }
  std::vector<std::thread> threads;
  for (const auto& actor : fleet) threads.emplace_back([&actor] { actor->FollowVersions(); });
  std::vector<FleetFigures> all;
  double from_peers = 0;
  for (int version = 0; version < versions; ++version) {
    const absl::Time published = publish();
    FleetFigures& figures = all.emplace_back();
    figures.first_s = 1e9;
    figures.from_peers = -from_peers;
    for (const auto& actor : fleet) {
      const FleetActor::Got got = actor->Version(static_cast<size_t>(version));
      const double took = absl::ToDoubleSeconds(got.at - published);
      figures.seconds = std::max(figures.seconds, took);
      figures.first_s = std::min(figures.first_s, took);
      figures.without += !got.has_it;
    }
    from_peers = 0;
    for (const auto& actor : fleet) from_peers += actor->fetches_from_peers();
    figures.from_peers += from_peers;
  }
  for (const auto& actor : fleet) actor->Stop();
  for (std::thread& thread : threads) thread.join();
  return all;
}

}  // namespace flowawr
