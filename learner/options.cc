#include "learner/options.h"

#include <CLI/CLI.hpp>

#include "common/base/version.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Trains an adapter with FlowAWR: hands out leases, takes groups of scored samples in, and makes policy versions of them.

The learner owns everything that lasts: prompt order, batches, optimiser, policies, checkpoints. Everything is in the run
directory that the configuration names; one learner at a time holds it.

`flowawr run CONFIG` starts it by itself, with actors and a reward server. By hand:
  flowawr-learner --config runs/tiny/config.yaml --reward-endpoint 127.0.0.1:50052 --endpoint-file learner.txt)";

constexpr char kFooter[] =
    R"(SIGTERM or Ctrl-C writes a checkpoint and exits 0; --resume goes on from the newest one.
Exit codes: 0 finished or stopped; 64 wrong usage; 70 internal error; 73 no room on the disk; 75 the run directory is in
use; 78 wrong configuration.)";

}  // namespace

ParsedLearnerOptions ParseLearnerOptions(int argc, const char* const* argv) {
  ParsedLearnerOptions parsed;
  LearnerOptions& options = parsed.options;
  CLI::App app(kDescription, "flowawr-learner");
  app.footer(kFooter);
  app.set_version_flag("--version", Version());
  app.add_option("--config", options.config, "the run's configuration (docs/configuration.md)")
      ->type_name("CONFIG.yaml")
      ->required();
  app.add_flag("--resume", options.is_resume, "go on from the newest checkpoint of the run directory, if there is one");
  app.add_option("--reward-endpoint", options.reward_endpoint, "reward server of the terms that name no endpoint")
      ->type_name("HOST:PORT");
  app.add_option("--listen", options.listen, "default: network.learner_listen of the configuration")
      ->type_name("HOST:PORT");
  app.add_option("--endpoint-file", options.endpoint_file, "file to write the learner's address to, once it serves")
      ->type_name("FILE");
  app.add_option("--metrics", options.metrics, "where /metrics listens; port 0: any free one")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--metrics-endpoint-file", options.metrics_endpoint_file, "file to write that address to")
      ->type_name("FILE");
  app.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  try {
    app.parse(argc, const_cast<char**>(argv));
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error) == 0 ? 0 : 64;
  }
  return parsed;
}

}  // namespace flowawr
