// flowawr: the one command that people type. Each subcommand is a file pair that adds itself here.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/certs_command.h"
#include "cli/completion_command.h"
#include "cli/compare_command.h"
#include "cli/config_command.h"
#include "cli/control_commands.h"
#include "cli/doctor_command.h"
#include "cli/encode_command.h"
#include "cli/export_command.h"
#include "cli/health_command.h"
#include "cli/plan_command.h"
#include "cli/prompts_command.h"
#include "cli/report_command.h"
#include "cli/reward_commands.h"
#include "cli/run_command.h"
#include "cli/sample_command.h"
#include "cli/score_command.h"
#include "common/config/schema.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/unquoted_words.h"
#include "common/telemetry/log.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Fine-tunes a flow-matching image model with rewards, by FlowAWR.

Start here (trains the embedded model, minutes on two CPU cores, no download):
  flowawr run configs/tiny-ocr.yaml)";

constexpr char kFooter[] = "`flowawr COMMAND --help` explains a command.";

// For those who take a field of the configuration for an option, e.g. --updates.
std::string HintAtField(const std::string& word) {
  if (!absl::StartsWith(word, "--")) return "";
  const std::string name = absl::StrReplaceAll(word.substr(2), {{"-", "_"}});
  const std::string field = FindField(*v1::RunConfig::descriptor(), name);
  return field.empty() ? "" : absl::StrCat("; it is a field of the configuration: --set ", field, "=VALUE");
}

int Main(int argc, char** argv) {
  InitLogging("flowawr");
  CLI::App app(kDescription, "flowawr");
  app.footer(kFooter);
  app.require_subcommand(1);
  int exit_code = 0;
  AddRunCommand(app, &exit_code);
  AddReportCommand(app, &exit_code);
  AddCompareCommand(app, &exit_code);
  AddControlCommands(app, &exit_code);
  AddExportCommand(app, &exit_code);
  AddRewardCommands(app, &exit_code);
  AddEncodeCommand(app, &exit_code);
  AddSampleCommand(app, &exit_code);
  AddPromptsCommand(app, &exit_code);
  AddScoreCommand(app, &exit_code);
  AddPlanCommand(app, &exit_code);
  AddConfigCommand(app, &exit_code);
  AddDoctorCommand(app, &exit_code);
  AddCertsCommand(app, &exit_code);
  AddHealthCommand(app, &exit_code);
  AddCompletionCommand(app, &exit_code);
  const std::optional<int> mistake = ParseCommandLine(  // runs the subcommand
      app, argc, argv, [] { return absl::OkStatus(); }, HintAtField);
  if (mistake.has_value()) return *mistake;
  if (exit_code == ExitCodeOf(absl::NotFoundError(""))) {
    const auto is_there = [](const std::string& path) {
      std::error_code ignored;
      return std::filesystem::exists(path, ignored);
    };
    std::fputs(DescribeUnquotedWords(app, {argv + 1, argv + argc}, /*may_be_taken=*/true, is_there).c_str(), stderr);
  }
  return exit_code;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
