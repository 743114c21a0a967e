// Watches the reward servers of a run, and loads again what one of them has lost with its process.
//
// Decisions are the ScorerBook's; this class adds the calls, the thread, the clock and the file. Servers are asked what
// they have once a second, all at once: one that hangs delays nobody. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/steady_cond_var.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "grpcpp/channel.h"
#include "learner/scorer_book.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/registry.h"

namespace flowawr {

class ScorerKeeper {
 public:
  struct Options {
    v1::RewardsConfig rewards;
    v1::NetworkConfig network;
    std::string default_reward_endpoint;      // of terms that name none
    std::string file;                         // what was seen, for the learner after this one: JSON lines
    std::function<v1::RewardSpec()> needed;   // asked by the thread of the keeper, which also tells:
    std::function<void(std::vector<std::string> warnings)> warn;  // when they change
  };

  // `registry` outlives it.
  ScorerKeeper(Options options, prometheus::Registry& registry);
  // Gives up what is under way.
  ~ScorerKeeper();
  ScorerKeeper(const ScorerKeeper&) = delete;
  ScorerKeeper& operator=(const ScorerKeeper&) = delete;

 private:
  struct Server {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::RewardService::Stub> stub;
    ScorerBook::Contact contact = ScorerBook::Contact::kKept;  // since it last told what it has
    bool is_asked = false;
    absl::Time next = absl::InfinitePast();  // to ask it
  };
  struct ListCall;
  struct LoadCall;

  void Run();
  // Servers that the rewards name by now.
  void Follow(const v1::RewardSpec& spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteLostConnections() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AskAll(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LoadWhatIsGone(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnListed(ListCall* call, const grpc::Status& status);
  void OnLoaded(LoadCall* call, const grpc::Status& status);
  void KeepInFile(const std::string& lines);

  const Options options_;
  prometheus::Family<prometheus::Counter>& loads_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  ScorerBook book_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Server>> servers_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::string> warned_;  // of the thread
  std::string kept_;                 // likewise: what the file holds
  std::thread thread_;
};

}  // namespace flowawr
