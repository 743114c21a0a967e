#include "learner/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/process/exit_code.h"
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

std::string ReadEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::Status FillInRank(GivenRank given, absl::FunctionRef<std::string(const char*)> environment, LearnerOptions& options) {
  const auto take = [&](const char* name, int least, int most, int& value) {
    const std::string text = environment(name);
    if (text.empty()) return absl::OkStatus();
    if (absl::SimpleAtoi(text, &value) && value >= least && value <= most) return absl::OkStatus();
    return UsageError(absl::StrCat("$", name, " is \"", text, "\", not a whole number from ", least, " to ", most));
  };
  if (!given.world) FLOWAWR_RETURN_IF_ERROR(take("WORLD_SIZE", 1, 1024, options.world));
  if (!given.rank && !environment("RANK").empty()) {
    FLOWAWR_RETURN_IF_ERROR(take("RANK", 0, 1023, options.rank));
  } else if (!given.rank && !environment("JOB_COMPLETION_INDEX").empty()) {
    FLOWAWR_RETURN_IF_ERROR(take("JOB_COMPLETION_INDEX", 0, 1023 - options.first_rank, options.rank));
    options.rank += options.first_rank;
  } else if (!given.rank && options.first_rank > 0) {
    return UsageError("--first-rank needs $JOB_COMPLETION_INDEX, which a Job with completionMode: Indexed gives its pods");
  }
  if (options.rank0.empty()) options.rank0 = environment("MASTER_ADDR");
  if (!given.local) {
    FLOWAWR_RETURN_IF_ERROR(take("LOCAL_RANK", 0, 1023, options.local_rank));
    FLOWAWR_RETURN_IF_ERROR(take("LOCAL_WORLD_SIZE", 1, 1024, options.local_world));
  }
  if (options.local_rank >= options.local_world)
    return UsageError(absl::StrCat("local rank ", options.local_rank, " (--local-rank, $LOCAL_RANK) of ", options.local_world,
                                   " ranks of this machine (--local-world, $LOCAL_WORLD_SIZE), numbered from 0"));
  return absl::OkStatus();
}

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
  app.add_option("--rank", options.rank,
                 "which of the learner's ranks this process is (docs/ranks.md); default: $RANK, else $JOB_COMPLETION_INDEX, else "
                 "0, which is the one that actors and `flowawr` speak to")
      ->type_name("N")
      ->transform(WholeNumber(0, 1023));
  app.add_option("--first-rank", options.first_rank,
                 "the rank of $JOB_COMPLETION_INDEX 0: 1 where all ranks but the first are a Job of their own")
      ->type_name("N")
      ->transform(WholeNumber(0, 1023));
  app.add_option("--world", options.world, "how many ranks there are; default: $WORLD_SIZE, else train.ranks")
      ->type_name("N")
      ->transform(WholeNumber(1, 1024));
  app.add_option("--rank0", options.rank0,
                 "where rank 0 waits for the others; default: $MASTER_ADDR, and the port of network.ranks_listen")
      ->type_name("HOST[:PORT]");
  CLI::Option* const local_rank =
      app.add_option("--local-rank", options.local_rank,
                     "which of the ranks of this machine, by which train.devices are dealt out; default: $LOCAL_RANK, else 0")
          ->type_name("N")
          ->transform(WholeNumber(0, 1023));
  CLI::Option* const local_world = app.add_option("--local-world", options.local_world,
                                                  "how many of them there are; default: $LOCAL_WORLD_SIZE, else 1")
                                       ->type_name("N")
                                       ->transform(WholeNumber(1, 1024));
  local_rank->needs(local_world);
  local_world->needs(local_rank);
  app.add_option("--lock-fd", options.lock_descriptor, "for `flowawr run`, which has locked the run directory already")
      ->type_name("N")
      ->transform(WholeNumber(3, 1 << 20));
  AddServingOptions(app, "where to serve; default: network.learner_listen of the configuration", &options.serving);
  AddTelemetryOptions(app, &options.telemetry);
  parsed.exit_code = ParseCommandLine(app, argc, argv, [&] {
    return FillInRank({.rank = app.count("--rank") > 0, .world = app.count("--world") > 0, .local = app.count("--local-rank") > 0},
                      ReadEnvironment, options);
  });
  return parsed;
}

}  // namespace flowawr
