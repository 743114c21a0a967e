// A learner process that is not rank 0: computes what rank 0 sends it and holds nothing that lasts.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"
#include "learner/local_gradient_engine.h"
#include "learner/ranks/rank_facts.h"

namespace flowawr {

struct RankOptions {
  HostPort rank0;
  RankFacts facts;  // session and hosts are filled in at each joining
  absl::Duration timeout = absl::Seconds(60);
};

// Until rank 0 says that the run is over, or `is_stopped` gives true, which a linked rank sees within about a second.
// Joins again when the link ends. Unavailable when rank 0 is not there for `timeout`; when it refuses the rank, its error
// (FailedPrecondition, InvalidArgument), or AlreadyExists when another process has been that rank for so long.
absl::Status ServeRank(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankOptions options,
                       const std::function<bool()>& is_stopped);

}  // namespace flowawr
