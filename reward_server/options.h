// The command line of flowawr-reward-server.
#pragma once

#include <string>
#include <vector>

#include "common/process/command_line.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

struct RewardServerOptions {
  ServingOptions serving = {.listen = "127.0.0.1:0", .endpoint_file = ""};
  std::vector<v1::LoadScorerRequest> scorers;
  std::string memory_file;  // empty: none
  int threads = 1;          // of each scorer
  int max_queued = 1024;    // images waiting for one scorer
  int max_image_side = 4096;
  double max_image_seconds = 30;
  v1::NetworkConfig network;
  TelemetryOptions telemetry;
};

Parsed<RewardServerOptions> ParseRewardServerOptions(int argc, const char* const* argv);

}  // namespace flowawr
