// Where Prometheus finds the processes of a run on this machine: a file for its file_sd_configs, kept as it is now.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

struct PrometheusTarget {
  std::string process;   // "actor-0", the label `instance`
  std::string endpoint;  // of its /metrics, HOST:PORT
};

// As file_sd_configs want it: each target with the labels run, job ("flowawr-learner", "flowawr-actor",
// "flowawr-reward-server") and instance, and how to speak to it. Pure.
std::string PrometheusTargetsJson(const std::string& run, bool speaks_tls,
                                  const std::vector<PrometheusTarget>& targets);

// Of `flowawr run`, used by one thread.
class PrometheusTargetsFile {
 public:
  static constexpr char kName[] = "prometheus_targets.json";

  // `folder`: the run's, where processes write the addresses of their pages to endpoints/NAME.metrics. `speaks_tls`:
  // network.metrics_tls.
  PrometheusTargetsFile(std::string folder, std::string run, bool speaks_tls);
  // Nobody is there any more: an empty list.
  ~PrometheusTargetsFile();
  PrometheusTargetsFile(const PrometheusTargetsFile&) = delete;
  PrometheusTargetsFile& operator=(const PrometheusTargetsFile&) = delete;

  void Add(const std::string& process);
  // Once in a while, at most once a second: writes the file anew when a process has told another address. A file that
  // cannot be written is told in the log only, as the run does not need it.
  void Refresh(absl::Time now);

 private:
  void Write(const std::string& text);

  const std::string folder_, run_;
  const bool speaks_tls_;
  std::vector<std::string> processes_;
  std::string written_;
  bool has_failed_ = false;
  absl::Time next_ = absl::InfinitePast();
};

}  // namespace flowawr
