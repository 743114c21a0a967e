// The learner's figures on its /metrics page, taken from status board and desk whenever somebody asks for the page.
#pragma once

#include <prometheus/metric_family.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/telemetry/metrics.h"
#include "learner/fleet_counts.h"
#include "learner/lease_desk.h"
#include "learner/status_board.h"

namespace flowawr {

// What the page says beside the status.
struct LearnerFacts {
  int max_staleness = 0;     // rollout.max_staleness
  int groups_per_batch = 0;  // rollout.groups_per_batch
  FleetCounts fleet;
  double age_s = 0;  // of the page, which is as old as the process
  std::optional<double> free_bytes, size_bytes;  // of the file system of the run's folder
};

// Actors beyond so many have no series of their own.
inline constexpr int kMostActorsShown = 512;

// Pure.
std::vector<prometheus::MetricFamily> MetricsOf(const v1::Status& status, const LearnerFacts& facts = {});

// Adds the learner's figures to the page of `server` as long as it lives. All must outlive it.
class LearnerMetrics {
 public:
  LearnerMetrics(MetricsServer& server, const StatusBoard& board, const LeaseDesk& leases,
                 const v1::RolloutConfig& rollout, const std::string& run_dir);
  ~LearnerMetrics();
  LearnerMetrics(const LearnerMetrics&) = delete;
  LearnerMetrics& operator=(const LearnerMetrics&) = delete;

 private:
  class Page;
  const std::shared_ptr<Page> page_;
};

}  // namespace flowawr
