// flowawr: the one command that people type. Each subcommand is a file pair that adds itself here.
#include <CLI/CLI.hpp>

#include "cli/config_command.h"
#include "cli/control_commands.h"
#include "cli/export_command.h"
#include "cli/report_command.h"
#include "cli/reward_commands.h"
#include "cli/run_command.h"
#include "cli/sample_command.h"
#include "common/base/version.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Fine-tunes a flow-matching image model with rewards, by FlowAWR.

Start here (trains the embedded model, minutes on two CPU cores, no download):
  flowawr run configs/tiny-ocr.yaml)";

constexpr char kFooter[] =
    R"(`flowawr COMMAND --help` explains a command.
Exit codes: 0 done; 64 wrong usage; 66 an input is missing; 69 nobody answers; 70 internal error; 73 there is something
already; 75 try again; 77 refused; 78 the configuration is no good; 130 stopped by the user.)";

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "flowawr");
  app.footer(kFooter);
  app.set_version_flag("--version", Version());
  app.require_subcommand(1);
  int exit_code = 0;
  AddRunCommand(app, &exit_code);
  AddReportCommand(app, &exit_code);
  AddControlCommands(app, &exit_code);
  AddExportCommand(app, &exit_code);
  AddRewardCommands(app, &exit_code);
  AddSampleCommand(app, &exit_code);
  AddConfigCommand(app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 64;
  }
  return exit_code;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
