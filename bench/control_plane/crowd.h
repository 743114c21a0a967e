// Many actors in one process, that do all that actors do but sample: register, watch for policies, fetch, adopt, take
// leases, renew them, and submit small groups. They have no thread each; several share a connection.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"

namespace flowawr {

struct CrowdOptions {
  int actors = 1000, connections = 50;
  absl::Duration group = absl::Seconds(5);  // to sample one, on average
  absl::Duration heartbeat = absl::Seconds(2);
  absl::Duration time = absl::Seconds(60);
};

// Milliseconds, of calls that began when all actors had registered; sorted.
struct CrowdFigures {
  std::vector<double> lease_ms, renew_ms, submit_ms;
  long adoptions = 0;
  long failures = 0;      // calls that did not end as they should
  double seconds = 0;     // in which those calls were made
};

// `finish` ends the run: from then on the learner grants no lease.
CrowdFigures RunCrowd(const std::string& endpoint, const CrowdOptions& options, absl::FunctionRef<void()> finish);

}  // namespace flowawr
