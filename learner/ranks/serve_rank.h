// A learner process that is not rank 0: computes what rank 0 sends it and holds nothing that lasts.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"
#include "common/rollout/group_schema.h"
#include "learner/local_gradient_engine.h"
#include "learner/ranks/rank_facts.h"
#include "learner/ranks/rank_proof.h"

namespace flowawr {

struct RankOptions {
  HostPort rank0;
  RankFacts facts;   // session and hosts are filled in at each joining
  GroupShape shape;  // of the run's groups
  RankTokens tokens = [] { return std::vector<std::string>{""}; };
  absl::Duration timeout = absl::Seconds(60);
};

// Until rank 0 says that the run is over, or `is_stopped`, asked from several threads, gives true, which a linked rank sees
// within about a second, one that computes after its micro-batch. Joins again when the link ends; says whom it looks for,
// and as long as it waits, at once and then every ten seconds, what for.
//
// Unavailable when rank 0 is not there for `timeout` and half a minute, in which it may be started again; when it refuses
// the rank, its error (FailedPrecondition, InvalidArgument, PermissionDenied), or AlreadyExists when another process has
// been that rank for so long. An error of
// the rank's device (IsDeviceError()), of which rank 0 is told first: the process must end with it.
absl::Status ServeRank(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankOptions options,
                       const std::function<bool()>& is_stopped);

}  // namespace flowawr
