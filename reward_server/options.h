// The command line of flowawr-reward-server.
#pragma once

#include <string>
#include <vector>

#include "common/process/command_line.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "reward_server/runner_options.h"

namespace flowawr {

struct RewardServerOptions {
  ServingOptions serving = {.listen = "127.0.0.1:0", .endpoint_file = ""};
  std::vector<v1::LoadScorerRequest> scorers;
  std::string memory_file;  // empty: none
  // What RunnerOptions are for a scorer whose own options say nothing else.
  int threads = 1;
  std::string device = "auto";
  int max_batch = 0;
  double max_wait_ms = 5;
  int max_queued = 1024;
  int max_image_side = 4096;
  double max_image_seconds = 30;
  double stuck_seconds = 10;
  int max_pending_mib = 1024;  // of requests and answers that the server holds
  v1::NetworkConfig network;
  TelemetryOptions telemetry;
};

RunnerOptions RunnerOptionsOf(const RewardServerOptions& options);

Parsed<RewardServerOptions> ParseRewardServerOptions(int argc, const char* const* argv);

}  // namespace flowawr
