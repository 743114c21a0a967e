#include "common/telemetry/metric_catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/telemetry/process_metrics.h"

namespace flowawr {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using prometheus::MetricType;

TEST(MetricCatalogue, NamesAreAsPrometheusRecommends) {
  std::set<std::string> names;
  for (const MetricInfo& info : MetricCatalogue()) {
    const std::string name(info.name);
    EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
    EXPECT_TRUE(absl::StartsWith(name, "flowawr_") || absl::StartsWith(name, "process_")) << name;
    EXPECT_EQ(info.type == MetricType::Counter, absl::EndsWith(name, "_total")) << name;
    // Base units, in the name.
    if (info.unit == "seconds" || info.unit == "bytes" ||
        (info.unit == "ratio" && !absl::StrContains(name, "differs"))) {
      EXPECT_THAT(name, HasSubstr(absl::StrCat("_", info.unit)));
    }
    for (const char* wrong : {"_ms", "_millis", "_mb", "_mib", "_kb", "_percent", "_minutes", "_hours"})
      EXPECT_FALSE(absl::EndsWith(name, wrong)) << name;
    EXPECT_TRUE(absl::EndsWith(info.help, ".")) << name << ": the help is a sentence";
    EXPECT_THAT(std::string(info.process), AnyOf("every", "learner", "actor", "reward_server")) << name;
  }
}

// Values of these come from a fixed list, from the run's configuration, from the machine, or from actors that live, of
// which only so many are shown.
TEST(MetricCatalogue, LabelsAreOfFewValues) {
  const std::set<std::string> bounded = {"actor",    "address", "cause",  "code",   "device",  "direction",
                                         "endpoint", "figure",  "method", "name",   "outcome", "phase",
                                         "process",  "purpose", "rank",   "reason", "run_id",  "scorer",
                                         "side",     "source",  "stage",  "state",  "version", "what"};
  for (const MetricInfo& info : MetricCatalogue())
    for (const absl::string_view label : absl::StrSplit(info.labels, ',', absl::SkipEmpty()))
      EXPECT_TRUE(bounded.contains(std::string(label))) << info.name << ": " << label;
}

TEST(MetricCatalogue, IsWhatTheDocumentationHolds) {
  const std::string page = ReadFile("docs/monitoring.md").value();
  EXPECT_THAT(page, HasSubstr(MetricReference())) << "put it there again: build/release/bin/flowawr-metrics-reference, "
                                                     "after the heading Metrics of docs/monitoring.md";
}

TEST(MetricCatalogueDeathTest, KnowsNoOtherMetric) {
  EXPECT_DEATH(FindMetric("flowawr_made_up_total"), "flowawr_made_up_total is not in the catalogue");
  prometheus::Registry registry;
  EXPECT_DEATH(RegisterGauge(registry, "flowawr_learner_updates_total"), "is no gauge");
}

TEST(ProcessMetrics, AreThoseOfThisProcess) {
  std::set<std::string> names;
  for (const prometheus::MetricFamily& family : ProcessMetrics()) {
    names.insert(family.name);
    ASSERT_EQ(family.metric.size(), 1u);
    const double value =
        family.type == MetricType::Counter ? family.metric[0].counter.value : family.metric[0].gauge.value;
    if (family.name != "process_cpu_seconds_total") {
      EXPECT_GT(value, 0) << family.name;
    }
    if (family.name == "process_open_fds") {
      EXPECT_LT(value, 1000);
    }
  }
  for (const MetricInfo& info : MetricCatalogue())
    if (absl::StartsWith(info.name, "process_")) {
      EXPECT_TRUE(names.contains(std::string(info.name))) << info.name;
    }
}

}  // namespace
}  // namespace flowawr
