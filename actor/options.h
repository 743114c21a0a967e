// The command line of flowawr-actor.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "common/process/command_line.h"
#include "common/rollout/actor_sizes.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ActorOptions {
  std::string learner;  // host:port
  std::string id;       // unique in the run
  int threads = 1;
  std::string device = "auto";  // see FindDevice()
  int score_workers = kScoreWorkers;
  int evaluation_rows = kEvaluationRows;
  bool fails_when_stopped = false;                   // a signal before the run's end is Cancelled
  absl::Duration give_up_after = absl::Minutes(10);  // without a learner
  std::string peer_listen;                           // where it serves adapters to others; empty: nowhere
  std::string peer_address;                          // where they reach it; empty: where it listens
  v1::NetworkConfig network;                         // TLS and token
  TelemetryOptions telemetry;
};

Parsed<ActorOptions> ParseActorOptions(int argc, const char* const* argv);

}  // namespace flowawr
