// The command line of flowawr-reward-server.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

struct RewardServerOptions {
  std::string listen = "127.0.0.1:0";
  std::vector<v1::LoadScorerRequest> scorers;
  int threads = 1;        // of each scorer
  int max_queued = 1024;  // images waiting for one scorer
  v1::NetworkConfig network;
  std::string endpoint_file;  // empty: none
  std::string metrics = "127.0.0.1:0";
  std::string metrics_endpoint_file;
  std::string log_level = "info";
};

// NAME[=KIND][,option=value...]; without KIND the name is the kind. InvalidArgument says what is accepted.
absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text);

// The options, or the exit code to leave with after --help, --version or a mistake, which has then been printed.
struct ParsedRewardServerOptions {
  RewardServerOptions options;
  std::optional<int> exit_code;
};
ParsedRewardServerOptions ParseRewardServerOptions(int argc, const char* const* argv);

}  // namespace flowawr
