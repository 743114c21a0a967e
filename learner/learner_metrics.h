// The learner's figures on its /metrics page, taken from the status whenever somebody asks for the page.
#pragma once

#include <prometheus/metric_family.h>

#include <memory>
#include <vector>

#include "common/telemetry/metrics.h"
#include "learner/desk.h"

namespace flowawr {

// What the page says of a status. Pure.
std::vector<prometheus::MetricFamily> MetricsOf(const v1::Status& status);

// Adds the desk's status to the page of `server` as long as it lives. Both must outlive it.
class LearnerMetrics {
 public:
  LearnerMetrics(MetricsServer& server, const Desk& desk);
  ~LearnerMetrics();
  LearnerMetrics(const LearnerMetrics&) = delete;
  LearnerMetrics& operator=(const LearnerMetrics&) = delete;

 private:
  class Page;
  const std::shared_ptr<Page> page_;
};

}  // namespace flowawr
