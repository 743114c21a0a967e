// What the /metrics page of every process shows: of the process itself, of its calls, of its certificates.
#pragma once

#include <prometheus/collectable.h>

#include <memory>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Collected anew at every scrape; files of certificates are read again once they may have changed, after a minute.
std::shared_ptr<prometheus::Collectable> MakeStandardMetrics(const v1::NetworkConfig& network);

}  // namespace flowawr
