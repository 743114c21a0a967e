// What the /metrics page of every process shows: of the process itself, of its calls, of its certificates, of the
// accelerators that it uses.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/tensor/nvml.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Collected anew at every scrape; files of certificates are read again once they may have changed, after a minute.
std::shared_ptr<prometheus::Collectable> MakeStandardMetrics(const v1::NetworkConfig& network);

// What `cards` tell of themselves, by device name; what none of them tells is left out. Pure.
std::vector<prometheus::MetricFamily> CardMetrics(const std::map<std::string, CardState>& cards);

}  // namespace flowawr
