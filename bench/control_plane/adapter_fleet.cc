#include "bench/control_plane/adapter_fleet.h"

#include <prometheus/registry.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
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
        fetcher_({.learner = [this](uint64_t version, uint64_t max) { return learner_->FetchPolicy(version, max); },
                  .find = [this](uint64_t version, uint64_t max,
                                 const auto& failed) { return learner_->FindPolicy(version, max, failed); },
                  .peer = [this](const std::string& at,
                                 const v1::PolicyVersion& policy) { return peers_.Fetch(at, policy); }},
                 serves_peers ? &server_->held() : nullptr, &metrics_) {}

  absl::Status Register() { return learner_->Register({{"transformer", "0123456789abcdef"}}, "cpu").status(); }

  // Returns when it has the version that is published next.
  void AwaitVersion() {
    learner_->WatchPolicy([this](const v1::PolicyVersion& policy) {
      fetcher_.Announced(policy);
      const absl::StatusOr<FetchedPolicy> fetched = fetcher_.Fetch(policy.version(), kMaxBytes);
      has_it_ = fetched.ok() && fetched->header.blob().sha256() == policy.sha256() &&
                learner_->ReportAdoption(policy, policy.modules()).ok();
      at_ = MonotonicNow();
      learner_->CancelWaits();
    }).IgnoreError();
  }

  bool has_it() const { return has_it_; }
  absl::Time at() const { return at_; }
  bool is_from_peer() const {
    for (const auto& family : registry_.Collect())
      if (family.name == "flowawr_actor_policy_fetches_total")
        for (const auto& metric : family.metric)
          if (metric.label.front().value == "peer") return metric.counter.value > 0;
    return false;
  }

 private:
  const v1::NetworkConfig network_ = Network();
  prometheus::Registry registry_;
  ActorMetrics metrics_{registry_};
  const std::unique_ptr<PeerServer> server_;
  const std::unique_ptr<LearnerClient> learner_;
  PeerClient peers_{network_};
  PolicyFetcher fetcher_;
  bool has_it_ = false;
  absl::Time at_;
};

}  // namespace

FleetFigures RunFleet(const std::string& endpoint, int actors, bool serves_peers,
                      const std::function<absl::Time()>& publish) {
  std::vector<std::unique_ptr<FleetActor>> fleet;
  for (int i = 0; i < actors; ++i) {
    fleet.push_back(std::make_unique<FleetActor>(endpoint, i, serves_peers));
    if (!fleet.back()->Register().ok()) return {.without = actors};
  }
  std::vector<std::thread> threads;
  for (const auto& actor : fleet) threads.emplace_back([&actor] { actor->AwaitVersion(); });
  const absl::Time published = publish();
  for (std::thread& thread : threads) thread.join();
  FleetFigures figures;
  figures.first_s = 1e9;
  for (const auto& actor : fleet) {
    const double took = absl::ToDoubleSeconds(actor->at() - published);
    figures.seconds = std::max(figures.seconds, took);
    figures.first_s = std::min(figures.first_s, took);
    figures.from_peers += actor->is_from_peer();
    figures.without += !actor->has_it();
  }
  return figures;
}

}  // namespace flowawr
