// The command line of flowawr-actor.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ActorOptions {
  std::string learner;  // host:port
  std::string id;       // unique in the run
  int threads = 1;
  int score_workers = 4;
  int evaluation_rows = 16;
  absl::Duration give_up_after = absl::Minutes(10);  // without a learner
  v1::NetworkConfig network;                         // TLS and token
  std::string metrics = "127.0.0.1:0";
  std::string metrics_endpoint_file;  // empty: none
  std::string log_level = "info";
};

// The options, or the exit code to leave with after --help, --version or a mistake, which has then been printed.
struct ParsedOptions {
  ActorOptions options;
  std::optional<int> exit_code;
};
ParsedOptions ParseOptions(int argc, const char* const* argv);

// sysexits.h: 64 usage, 69 unavailable, 70 internal, 77 no permission, 78 configuration; 0 for OK.
int ExitCodeOf(const absl::Status& status);

}  // namespace flowawr
