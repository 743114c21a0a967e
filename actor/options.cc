#include "actor/options.h"

#include <CLI/CLI.hpp>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/config/run_config.h"
#include "common/process/device_option.h"
#include "common/process/option_values.h"

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
With TLS or a token:
  flowawr-actor --learner trainer.example:50051 --network-config network.yaml)";

constexpr char kFooter[] = R"(SIGTERM or Ctrl-C hands all leases back and exits 0, as does the end of the run.)";

}  // namespace

Parsed<ActorOptions> ParseActorOptions(int argc, const char* const* argv) {
  Parsed<ActorOptions> parsed;
  ActorOptions& options = parsed.options;
  double give_up_after_s = absl::ToDoubleSeconds(options.give_up_after);
  std::string network_config;
  CLI::App app(kDescription, "flowawr-actor");
  app.footer(kFooter);
  app.add_option("--learner", options.learner, "the learner's address")
      ->type_name("HOST:PORT")
      ->check(AddressToReach())
      ->required();
  app.add_option("--id", options.id, "name in status and logs, unique in the run; default: a random one")
      ->type_name("NAME");
  app.add_option("--threads", options.threads, "cores for sampling; strict runs need the same number each time")
      ->type_name("N")
      ->transform(WholeNumber(1, 1024))
      ->capture_default_str();
  AddDeviceOption(app, "it encodes, samples and decodes", &options.device);
  app.add_option("--score-workers", options.score_workers, "groups that wait for rewards at the same time")
      ->type_name("N")
      ->transform(WholeNumber(1, 64))
      ->capture_default_str();
  app.add_option("--evaluation-rows", options.evaluation_rows, "evaluation images sampled as one batch, at most")
      ->type_name("N")
      ->transform(WholeNumber(1, 1024))
      ->capture_default_str();
  app.add_option("--give-up-after", give_up_after_s, "exit when the learner has been away for so long")
      ->type_name("SECONDS")
      ->check(Number(0, 1e9))
      ->capture_default_str();
  app.add_flag("--fail-when-stopped", options.fails_when_stopped,
               "exit with 130 instead of 0 when a signal ends it before the run's end, so that a Job of Kubernetes, to "
               "which 0 is done, starts another");
  auto* const peer_listen =
      app.add_option("--peer-listen", options.peer_listen,
                     "serve adapters to other actors here, and fetch them from others, so that the learner sends a few "
                     "copies however many actors there are; default: every adapter comes from the learner")
          ->type_name("HOST:PORT")
          ->check(AddressToListenOn());
  app.add_option("--peer-address", options.peer_address,
                 "where others reach --peer-listen, with TLS a name of its certificate unless network.peer_tls_name "
                 "says which that carries; default: the address listened on, or where all are, the one from which the "
                 "learner is called")
      ->type_name("HOST:PORT")
      ->check(AddressToReach())
      ->needs(peer_listen);
  AddNetworkConfigOption(app, "neither TLS nor token", &network_config);
  AddTelemetryOptions(app, &options.telemetry);
  parsed.exit_code = ParseCommandLine(app, argc, argv, [&]() -> absl::Status {
    options.give_up_after = absl::Seconds(give_up_after_s);
    if (options.id.empty()) options.id = "actor-" + RandomId(3);
    if (!IsValidUtf8(options.id)) return absl::InvalidArgumentError("--id is not UTF-8");
    FLOWAWR_ASSIGN_OR_RETURN(options.network, LoadNetworkConfig(network_config));
    return absl::OkStatus();
  });
  return parsed;
}

}  // namespace flowawr
