#include "cli/completion_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/process/command_tree.h"
#include "common/process/completion.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

constexpr char kFooter[] = R"(For this shell only; an installed package brings its own:
  source <(flowawr completion bash)
  source <(flowawr completion zsh)
  flowawr completion fish | source)";

absl::Status Print(const CLI::App& app, const std::string& shell) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string script, CompletionScript(CommandTreeOf(app), shell));
  std::fputs(script.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddCompletionCommand(CLI::App& app, int* exit_code) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Print what a shell needs to complete commands and options");
  command->footer(kFooter);
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  command->callback([&app, shell, exit_code] { *exit_code = ReportAndExitCodeOf(Print(app, *shell)); });
}

}  // namespace flowawr
