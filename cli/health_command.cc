#include "cli/health_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/health_probe.h"
#include "cli/run_folder.h"
#include "common/base/status.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Ask a process whether it serves; for containers and scripts";

constexpr char kFooter[] = R"(Examples:
  flowawr health runs/tiny-ocr                                          the learner of a run on this machine
  flowawr health --address 127.0.0.1:50052 --service flowawr.scorer.ocr  a reward server, one scorer of it
  flowawr health --metrics 127.0.0.1:9101                               an actor: it has no more than /metrics

A line and exit code 0 when it serves; 69 when it does not, or does not answer in time; 77 when the token or the TLS
settings do not fit. Where nothing is named, FLOWAWR_HEALTH_METRICS or else FLOWAWR_HEALTH_ADDRESS says what to ask.)";
constexpr char kMetricsVariable[] = "FLOWAWR_HEALTH_METRICS";
constexpr char kAddressVariable[] = "FLOWAWR_HEALTH_ADDRESS";

struct Arguments {
  std::string run_dir, address, service, metrics, network_config;
  double timeout_s = 8;  // what starts this program waits longer: 10 s in the chart, 20 s in compose and the image
};

absl::StatusOr<Endpoint> FindEndpoint(const Arguments& arguments) {
  if (!arguments.address.empty()) return Endpoint{arguments.address, ""};
  return LearnerEndpointOf(arguments.run_dir);
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::Status Health(Arguments arguments) {
  if (arguments.run_dir.empty() && arguments.address.empty() && arguments.metrics.empty()) {
    arguments.metrics = Variable(kMetricsVariable);
    if (arguments.metrics.empty()) arguments.address = Variable(kAddressVariable);
  }
  const int named = !arguments.run_dir.empty() + !arguments.address.empty() + !arguments.metrics.empty();
  if (named != 1)
    return UsageError("name one of RUN_DIR, --address HOST:PORT and --metrics HOST:PORT");
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // the answer is one line: gRPC's own would stand beside it
  const absl::Duration limit = absl::Seconds(arguments.timeout_s);
  FLOWAWR_ASSIGN_OR_RETURN(const v1::NetworkConfig network,
                           FindNetworkConfig(arguments.network_config, arguments.run_dir));
  if (!arguments.metrics.empty()) {
    FLOWAWR_RETURN_IF_ERROR(ProbeMetrics(arguments.metrics, network, limit));
    std::printf("%s serves\n", arguments.metrics.c_str());
    return absl::OkStatus();
  }
  FLOWAWR_ASSIGN_OR_RETURN(const Endpoint endpoint, FindEndpoint(arguments));
  FLOWAWR_RETURN_IF_ERROR(ProbeHealth(endpoint, arguments.service, network, limit));
  std::printf("%s%s serves\n", endpoint.address.c_str(), arguments.service.empty() ? "" : (" " + arguments.service).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddHealthCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("health", kDescription);
  command->footer(kFooter);
  command->add_option("RUN_DIR,--run-dir", arguments->run_dir, "the directory of a run on this machine: its learner");
  command->add_option("--address", arguments->address, "of a learner or reward server, anywhere")
      ->type_name("HOST:PORT")
      ->check(AddressToReach());
  command->add_option("--service", arguments->service,
                      "a part of it, e.g. flowawr.scorer.ocr; default: the server as a whole")
      ->type_name("NAME");
  command->add_option("--metrics", arguments->metrics, "of a process that has nothing but /metrics: an actor")
      ->type_name("HOST:PORT")
      ->check(AddressToReach());
  command->add_option("--timeout", arguments->timeout_s, "how long to wait for the answer")
      ->type_name("SECONDS")
      ->check(Number(0.01, 3600))
      ->capture_default_str();
  AddNetworkConfigOption(*command, "the configuration of RUN_DIR, else neither TLS nor token", &arguments->network_config);
  command->get_option("--network-config")->envname("FLOWAWR_NETWORK_CONFIG");
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(Health(*arguments)); });
}

}  // namespace flowawr
