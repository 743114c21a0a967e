// What Prometheus' own clients show of a process: process_cpu_seconds_total, process_resident_memory_bytes and others.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

namespace flowawr {

// Of this process, read from /proc; what it does not say is left out.
std::vector<prometheus::MetricFamily> ProcessMetrics();

}  // namespace flowawr
