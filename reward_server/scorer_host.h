// The scorers of a server by name: loaded, found and unloaded while others are scoring.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "flowawr/v1/reward.pb.h"
#include "reward_server/score_metrics.h"
#include "reward_server/scorer_registry.h"
#include "reward_server/scorer_runner.h"

namespace flowawr {

// Thread-safe. Loading and unloading are slow and done outside the lock: they hold up nobody.
class ScorerHost {
 public:
  ScorerHost(const ScorerRegistry& registry, prometheus::Registry& metrics, const RunnerOptions& options);
  ~ScorerHost();  // UnloadAll()

  // `name` empty: the kind's. AlreadyExists while a scorer of that name is loaded, being loaded or being unloaded;
  // InvalidArgument for a bad name or option; NotFound for an unknown kind; else why it could not be loaded.
  absl::StatusOr<v1::ScorerInfo> Load(const v1::LoadScorerRequest& request);

  // Nobody finds it from now on; returns when what was asked of it is answered and it is gone. NotFound.
  absl::Status Unload(const std::string& name);
  void UnloadAll();

  // NotFound, naming what is loaded. The reference may outlast Unload(); its Score() then refuses.
  absl::StatusOr<std::shared_ptr<ScorerRunner>> Find(const std::string& name) const;

  v1::ListScorersResponse List() const;

 private:
  struct Loaded {
    std::string kind;
    ScorerSeries series;
    std::shared_ptr<ScorerRunner> runner;
  };

  const ScorerRegistry& registry_;
  ScoreMetrics metrics_;
  const RunnerOptions options_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Loaded> scorers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> in_transition_ ABSL_GUARDED_BY(mutex_);  // names being loaded or unloaded
};

}  // namespace flowawr
