// The command line of flowawr-learner.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "common/process/command_line.h"

namespace flowawr {

struct LearnerOptions {
  std::string config;  // YAML file
  bool is_resume = false;
  bool accepts_changed_prompts = false;
  bool fails_when_stopped = false;  // a signal before the run's end is Cancelled
  // As docs/ranks.md; nothing given, and nothing in the environment: the configuration's number of ranks, and rank 0.
  int rank = 0;
  int first_rank = 0;  // the rank of $JOB_COMPLETION_INDEX 0
  int world = 0;       // ranks; 0: train.ranks of the configuration
  std::string rank0;   // host:port, or host, of rank 0; for the others
  int local_rank = 0, local_world = 1;  // among the ranks of this machine, which share train.devices
  int lock_descriptor = -1;     // the run directory's lock, taken by the process that started this one
  std::string reward_endpoint;  // for reward terms that name none
  ServingOptions serving;       // listen empty: network.learner_listen of the configuration
  TelemetryOptions telemetry;
};

// Which of these the command line has told.
struct GivenRank {
  bool rank = false, world = false, local = false;  // local: both of them
};
// What it has not: from torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR, LOCAL_RANK, LOCAL_WORLD_SIZE) and those of
// Kubernetes' indexed jobs (JOB_COMPLETION_INDEX). `environment` gives "" for a variable that is not set. A usage error for
// a value that is no number, and for a local rank beyond its machine's.
absl::Status FillInRank(GivenRank given, absl::FunctionRef<std::string(const char*)> environment, LearnerOptions& options);

Parsed<LearnerOptions> ParseLearnerOptions(int argc, const char* const* argv);

}  // namespace flowawr
