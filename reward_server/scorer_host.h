// The scorers of a server by name: loaded, found, replaced and unloaded while others are scoring.
#pragma once

#include <atomic>
#include <functional>
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
//
// A scorer is served once it has scored a probe (warm_up.h). When its last call has ended, its memory goes back to the
// system and the device.
class ScorerHost {
 public:
  using HealthObserver = std::function<void(const std::string& scorer, bool is_serving)>;

  // `options` are the defaults of what a scorer's own options say: see runner_options.h.
  ScorerHost(const ScorerRegistry& registry, prometheus::Registry& metrics, const RunnerOptions& options);
  ~ScorerHost();  // UnloadAll()

  // `name` empty: the kind's. AlreadyExists while a scorer of that name is loaded, being loaded or being unloaded;
  // InvalidArgument for a bad name or option; NotFound for an unknown kind; what RunnerOptions::device_error says, when the
  // device failed; else why it could not be loaded.
  absl::StatusOr<v1::ScorerInfo> Load(const v1::LoadScorerRequest& request);

  // Puts another scorer in the place of the one of that name. `kind` empty: the kind that it has, and then, without
  // options, those it has. The old one answers until the new one is ready; from then on it takes nothing new. Returns
  // when it has answered all that it was asked, and is freed. NotFound; Aborted while another call loads, replaces or
  // unloads it; else as Load(): then the old one is still served.
  absl::StatusOr<v1::ScorerInfo> Reload(const v1::LoadScorerRequest& request);

  // Nobody finds it from now on; returns when what was asked of it is answered and it is gone. NotFound; Aborted as
  // Reload().
  absl::Status Unload(const std::string& name);
  void UnloadAll();

  // NotFound, naming what is loaded. The reference may outlast Unload() and Reload(); its Score() then refuses.
  absl::StatusOr<std::shared_ptr<ScorerRunner>> Find(const std::string& name) const;

  v1::ListScorersResponse List() const;

  // `observer` is told of every scorer now, and whenever one comes, gets stuck, is well again or goes; null: no longer.
  // It must not call the host.
  void WatchHealth(HealthObserver observer);

  // A call of a scorer that is gone has not returned, and perhaps never will: the process must end without destroying
  // what the scorer uses, by std::_Exit().
  bool has_left_a_call() const { return has_left_a_call_; }

 private:
  struct Loaded {
    v1::LoadScorerRequest request;  // name and kind filled in
    ScorerSeries series;
    std::shared_ptr<ScorerRunner> runner;
  };
  struct Made {
    std::shared_ptr<Scorer> scorer;
    RunnerOptions options;
  };

  absl::StatusOr<Made> Make(const v1::LoadScorerRequest& request);
  std::shared_ptr<ScorerRunner> Run(Made made, const ScorerSeries& series);
  // The request that is to be loaded in the place of what is there; the name is then in transition.
  absl::StatusOr<v1::LoadScorerRequest> BeginReload(const v1::LoadScorerRequest& request);
  void StopRunner(std::shared_ptr<ScorerRunner> runner, absl::Duration grace);
  void ShowHealth(const ScorerSeries& series, bool is_healthy);
  void TellHealth(const std::string& name, bool is_serving);
  void TellGone(const std::string& name);
  void EndTransition(const std::string& name);
  static v1::ScorerInfo InfoOf(const v1::LoadScorerRequest& request, const ScorerRunner& runner);

  const ScorerRegistry& registry_;
  ScoreMetrics metrics_;
  const RunnerOptions options_;
  std::atomic<bool> has_left_a_call_ = false;
  mutable absl::Mutex mutex_;
  std::map<std::string, Loaded> scorers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> in_transition_ ABSL_GUARDED_BY(mutex_);  // names being loaded, replaced or unloaded
  absl::Mutex observer_mutex_;
  HealthObserver observer_ ABSL_GUARDED_BY(observer_mutex_);
  std::map<std::string, bool> is_serving_ ABSL_GUARDED_BY(observer_mutex_);
};

}  // namespace flowawr
