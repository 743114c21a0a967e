#include "bench/control_plane/served_learner.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/medium_layout.h"
#include "common/base/clock.h"
#include "common/nn/instruction_set.h"
#include "common/rpc/call_counts.h"
#include "common/rpc/server.h"
#include "learner/policy_service.h"
#include "learner/rollout_service.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

constexpr uint64_t kGroupsPerBatch = 100, kLeasesAhead = 4000;
constexpr int kStaleness = 1000;  // in versions: nothing is leased anew, so that every group counts
constexpr int kBatchesPerVersion = 10;

LeaseDesk::Options Options() {
  LeaseDesk::Options options = SmallDeskOptions();
  options.leases.timeout = absl::Minutes(1);
  options.batches = {.groups_per_batch = kGroupsPerBatch, .max_staleness = kStaleness};
  options.tell = [](bool, const std::string&) {};
  return options;
}

// In place of the run loop.
class Driver {
 public:
  explicit Driver(SmallDesk& desk) : desk_(desk), thread_([this] { Run(); }) {}
  ~Driver() { thread_.join(); }

 private:
  void Run() {
    for (uint64_t batch = 0;; ++batch) {
      if (batch % kBatchesPerVersion == 0)
        version_ =
            desk_.policies.Publish(SmallAdapter(batch), v1::BEHAVIOUR_POLICY, batch).value()->header.policy().version();
      Offer(batch == 0 ? kLeasesAhead : kGroupsPerBatch);
      if (!desk_.leases.WaitForBatch(/*oldest_version=*/0)) return;
    }
  }
  void Offer(uint64_t count) {
    std::vector<v1::Lease> leases;
    for (uint64_t i = 0; i < count; ++i) leases.push_back(SmallLease(next_++, version_));
    desk_.leases.Offer(std::move(leases));
  }

  SmallDesk& desk_;
  uint64_t version_ = 0, next_ = 0;
  std::thread thread_;
};

double ProcessorSeconds(const rusage& usage) {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void Tell(const nlohmann::json& line) { std::cout << line.dump() << std::endl; }

nlohmann::json Figures(const SmallDesk& desk) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  nlohmann::json calls = nlohmann::json::object();
  for (const CallCounts& counts : CountedCalls()) {
    uint64_t ended = 0;
    for (const CallCounts::Ended& end : counts.ended) ended += end.calls;
    calls[counts.method] = {
        {"calls", ended}, {"received_bytes", counts.received_bytes}, {"sent_bytes", counts.sent_bytes}};
  }
  nlohmann::json copies;
  for (const auto& family : desk.registry.Collect()) {
    if (family.name != "flowawr_learner_policy_fetches_total") continue;
    for (const auto& metric : family.metric) copies[metric.label.front().value] = metric.counter.value;
  }
  return {{"processor_s", ProcessorSeconds(usage)},
          {"peak_mb", static_cast<double>(usage.ru_maxrss) / 1024},
          {"calls", calls},
          {"copies", copies}};
}

}  // namespace

int ServeLearner(bool leases) {
  at::set_num_threads(1);
  SmallDesk desk(Options());
  IdleWatch idle(absl::Seconds(30));
  RunModel model(ComponentFingerprints{{"transformer", "0123456789abcdef"}});
  const std::string instructions(kernels::NameOf(kernels::ActiveInstructionSet()));
  RolloutService rollout({"bench", v1::RunConfig(), instructions, absl::Seconds(5)}, &model, &desk.leases,
                         &desk.fan_out, &idle);
  PolicyService policies(&desk.policies, &desk.leases, &desk.fan_out, &idle);
  v1::NetworkConfig network;
  network.set_max_message_mib(64);
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {&rollout, &policies}).value();
  std::unique_ptr<Driver> driver;
  if (leases) driver = std::make_unique<Driver>(desk);
  Tell({{"endpoint", server->endpoint()}});
  for (std::string word; std::getline(std::cin, word);) {
    if (word == "publish") {
      const LoraAdapter adapter = LoraAdapter::Initialise(MediumLayout(), desk.policies.next_version());
      const auto stored = desk.policies.Publish(adapter, v1::BEHAVIOUR_POLICY, 0).value();
      Tell({{"published_at", absl::ToDoubleSeconds(MonotonicNow() - absl::UnixEpoch())},
            {"bytes", stored->bytes.size()}});
    } else {
      desk.Stop(/*is_run_finished=*/true);
      Tell(Figures(desk));
    }
  }
  desk.Stop(/*is_run_finished=*/true);
  driver.reset();
  server->Shutdown(absl::Seconds(1));
  return 0;
}

}  // namespace flowawr
