// The command line of flowawr-learner.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace flowawr {

struct LearnerOptions {
  std::string config;  // YAML file
  bool is_resume = false;
  std::string reward_endpoint;  // for reward terms that name none
  std::string listen;           // empty: network.learner_listen of the configuration
  std::string metrics = "127.0.0.1:0";
  std::string endpoint_file, metrics_endpoint_file;  // empty: none
  std::string log_level = "info";
};

// The options, or the exit code to leave with after --help, --version or a mistake, which has then been printed.
struct ParsedLearnerOptions {
  LearnerOptions options;
  std::optional<int> exit_code;
};
ParsedLearnerOptions ParseLearnerOptions(int argc, const char* const* argv);

}  // namespace flowawr
