// flowawr-metrics-reference: the catalogue of metrics as docs/monitoring.md holds it.
#include <iostream>

#include "common/telemetry/metric_catalogue.h"

int main() {
  std::cout << flowawr::MetricReference();
  return std::cout.flush() ? 0 : 74;
}
