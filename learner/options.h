// The command line of flowawr-learner.
#pragma once

#include <string>

#include "common/process/command_line.h"

namespace flowawr {

struct LearnerOptions {
  std::string config;  // YAML file
  bool is_resume = false;
  bool accepts_changed_prompts = false;
  bool fails_when_stopped = false;  // a signal before the run's end is Cancelled
  int lock_descriptor = -1;     // the run directory's lock, taken by the process that started this one
  std::string reward_endpoint;  // for reward terms that name none
  ServingOptions serving;       // listen empty: network.learner_listen of the configuration
  TelemetryOptions telemetry;
};

Parsed<LearnerOptions> ParseLearnerOptions(int argc, const char* const* argv);

}  // namespace flowawr
