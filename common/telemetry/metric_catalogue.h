// Every metric that a process of this project shows: name, type, unit, labels and meaning, in one list.
//
// Pages take help and type from it, and docs/monitoring.md is made from it, so that neither can differ from the other.
// A metric that is not in the list cannot be shown: asking for it ends the process, as the mistake is in the program.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace flowawr {

struct MetricInfo {
  absl::string_view process;  // that shows it; "every": each
  absl::string_view name;
  prometheus::MetricType type;
  absl::string_view unit;    // a base unit, or what is counted; empty: a number without one
  absl::string_view labels;  // with commas between; empty: none
  absl::string_view help;    // a sentence
};

// In the order in which people read it.
absl::Span<const MetricInfo> MetricCatalogue();
const MetricInfo& FindMetric(absl::string_view name);

// A family without metrics yet, for pages that are collected when somebody asks.
prometheus::MetricFamily FamilyOf(absl::string_view name);
// Adds a value to a family of counters or gauges.
void AddMetric(prometheus::MetricFamily& family, double value,
               std::vector<prometheus::ClientMetric::Label> labels = {});
// A family of one metric without labels.
prometheus::MetricFamily SingleMetric(absl::string_view name, double value);

// For pages that are kept up to date.
prometheus::Family<prometheus::Counter>& RegisterCounter(prometheus::Registry& registry, absl::string_view name);
prometheus::Family<prometheus::Gauge>& RegisterGauge(prometheus::Registry& registry, absl::string_view name);
prometheus::Family<prometheus::Histogram>& RegisterHistogram(prometheus::Registry& registry, absl::string_view name);

// The list as tables for people, in Markdown: what docs/monitoring.md holds.
std::string MetricReference();

}  // namespace flowawr
