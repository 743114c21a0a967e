#include "common/process/command_line.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/version.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"

namespace flowawr {
namespace {

constexpr char kEnvironmentHelp[] =
    "Environment: FLOWAWR_CPU=baseline, sse4, avx2, avx512 or avx512_bf16 keeps to those of the processor's instructions.";

}  // namespace

void AddTelemetryOptions(CLI::App& app, TelemetryOptions* options) {
  app.add_option("--metrics", options->metrics, "where /metrics listens; port 0: any free one")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--metrics-endpoint-file", options->metrics_endpoint_file, "file to write that address to")
      ->type_name("FILE");
  app.add_option("--log-level", options->log_level, "trace, debug, info, warn, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
}

void AddServingOptions(CLI::App& app, const std::string& listen_help, ServingOptions* options) {
  app.add_option("--listen", options->listen, listen_help)->type_name("HOST:PORT")->capture_default_str();
  app.add_option("--endpoint-file", options->endpoint_file, "file to write that address to, once serving")
      ->type_name("FILE");
}

void AddNetworkConfigOption(CLI::App& app, const std::string& default_help, std::string* file) {
  app.add_option("--network-config", *file,
                 absl::StrCat("file whose section `network` says TLS and token; default: ", default_help))
      ->type_name("CONFIG.yaml");
}

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    absl::FunctionRef<absl::Status()> finish) {
  if (const absl::Status restricted = RestrictProcessor(); !restricted.ok()) {
    ReportAndExitCodeOf(restricted);
    return kUsageExitCode;
  }
  app.set_version_flag("--version", Version());
  const std::string footer = app.get_footer();
  app.footer(absl::StrCat(footer, footer.empty() ? "" : "\n", kExitCodesHelp, "\n", kEnvironmentHelp));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageExitCode;
  }
  const absl::Status finished = finish();
  if (!finished.ok()) return ReportAndExitCodeOf(finished);
  return std::nullopt;
}

}  // namespace flowawr
