// The learner's figures on its /metrics page, taken from the status as it changes.
#pragma once

#include <memory>

#include <prometheus/registry.h>

#include "learner/desk.h"

namespace flowawr {

// Keeps the page up to date as long as it lives. `registry` and `desk` must outlive it.
class LearnerMetrics {
 public:
  LearnerMetrics(prometheus::Registry& registry, Desk& desk);
  ~LearnerMetrics();

 private:
  struct Gauges;
  std::unique_ptr<Gauges> gauges_;
};

}  // namespace flowawr
