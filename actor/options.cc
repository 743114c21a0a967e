#include "actor/options.h"

#include <CLI/CLI.hpp>

#include <cstdio>

#include "common/base/ids.h"
#include "common/base/version.h"
#include "common/config/run_config.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Samples groups of images for a FlowAWR training run.

An actor takes leases from the learner, draws the images of a prompt with the policy version that the lease names, has
them scored by the reward servers, and sends the group back. It keeps nothing: stop it, kill it or add another at any
moment; what it was making is made again with the same seeds. Everything about the run (model, image size, rewards)
comes from the learner; the model's folder must be readable here under the same path.

`flowawr run CONFIG` starts actors by itself. Start more by hand to add this machine to a run:
  flowawr-actor --learner 127.0.0.1:41234 --threads 4
With TLS or a token, give the run's configuration, of which only the section `network` is read:
  flowawr-actor --learner trainer.example:50051 --network-config run/config.yaml)";

constexpr char kFooter[] =
    R"(SIGTERM or Ctrl-C hands all leases back and exits 0, as does the end of the run.
Exit codes: 0 done; 64 wrong usage; 69 no learner for --give-up-after seconds; 70 internal error; 77 refused (token,
TLS); 78 this actor does not fit the run (another model, another configuration).)";

}  // namespace

ParsedOptions ParseOptions(int argc, const char* const* argv) {
  ParsedOptions parsed;
  ActorOptions& options = parsed.options;
  double give_up_after_s = absl::ToDoubleSeconds(options.give_up_after);
  std::string network_config;
  CLI::App app(kDescription, "flowawr-actor");
  app.footer(kFooter);
  app.set_version_flag("--version", Version());
  app.add_option("--learner", options.learner, "the learner's address")->type_name("HOST:PORT")->required();
  app.add_option("--id", options.id, "name in status and logs, unique in the run; default: a random one")
      ->type_name("NAME");
  app.add_option("--threads", options.threads, "cores for sampling; strict runs need the same number each time")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--score-workers", options.score_workers, "groups that wait for rewards at the same time")
      ->type_name("N")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--evaluation-rows", options.evaluation_rows, "evaluation images sampled as one batch, at most")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--give-up-after", give_up_after_s, "exit when the learner has been away for so long")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  app.add_option("--network-config", network_config, "run configuration with the section `network`: TLS, token")
      ->type_name("CONFIG.yaml");
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
    return parsed;
  }
  options.give_up_after = absl::Seconds(give_up_after_s);
  if (options.id.empty()) options.id = "actor-" + RandomId(3);
  if (!network_config.empty()) {
    absl::StatusOr<v1::RunConfig> config = LoadRunConfig(network_config);
    if (!config.ok()) {
      std::fprintf(stderr, "flowawr-actor: --network-config: %s\n", std::string(config.status().message()).c_str());
      parsed.exit_code = 78;
      return parsed;
    }
    options.network = config->network();
  }
  return parsed;
}

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk: return 0;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded: return 69;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied: return 77;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented: return 78;
    default: return 70;
  }
}

}  // namespace flowawr
