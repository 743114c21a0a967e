#include "learner/options.h"

#include <CLI/CLI.hpp>

#include "common/process/option_values.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Trains an adapter with FlowAWR: hands out leases, takes groups of scored samples in, and makes policy versions of them.

The learner owns everything that lasts: prompt order, batches, optimiser, policies, checkpoints. Everything is in the run
directory that the configuration names; a learner locks it.

`flowawr run CONFIG` starts it by itself, with actors and a reward server. By hand:
  flowawr-learner --config configs/tiny-ocr.yaml --reward-endpoint 127.0.0.1:50052 --endpoint-file learner.txt)";

constexpr char kFooter[] =
    R"(SIGTERM or Ctrl-C writes a checkpoint and exits 0; --resume goes on from the newest one.)";

}  // namespace

Parsed<LearnerOptions> ParseLearnerOptions(int argc, const char* const* argv) {
  Parsed<LearnerOptions> parsed;
  LearnerOptions& options = parsed.options;
  CLI::App app(kDescription, "flowawr-learner");
  app.footer(kFooter);
  app.add_option("--config", options.config, "the run's configuration (docs/configuration.md)")
      ->type_name("CONFIG.yaml")
      ->required();
  app.add_flag("--resume", options.is_resume, "go on from the newest checkpoint of the run directory, if there is one");
  app.add_flag("--accept-changed-prompts", options.accepts_changed_prompts,
               "with --resume: go on though the prompt files are not what they were");
  app.add_flag("--fail-when-stopped", options.fails_when_stopped,
               "exit with 130 instead of 0 when a signal ends it before the run's end, so that a Job of Kubernetes, to "
               "which 0 is done, starts it again");
  app.add_option("--reward-endpoint", options.reward_endpoint, "reward server of the terms that name no endpoint")
      ->type_name("HOST:PORT")
      ->check(AddressToReach());
  app.add_option("--lock-fd", options.lock_descriptor, "for `flowawr run`, which has locked the run directory already")
      ->type_name("N")
      ->transform(WholeNumber(3, 1 << 20));
  AddServingOptions(app, "where to serve; default: network.learner_listen of the configuration", &options.serving);
  AddTelemetryOptions(app, &options.telemetry);
  parsed.exit_code = ParseCommandLine(app, argc, argv);
  return parsed;
}

}  // namespace flowawr
