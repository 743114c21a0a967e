#include "cli/config_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/run_inputs.h"
#include "cli/set_option.h"
#include "common/base/status.h"
#include "common/config/run_config.h"
#include "common/process/exit_code.h"
#include "common/sd3/latent_shape.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Check a configuration and print it with every default filled in";

constexpr char kFooter[] = R"(Examples:
  flowawr config configs/tiny-ocr.yaml
  flowawr config configs/tiny-ocr.yaml --set optimizer.learning_rate=1e-4 > mine.yaml
  flowawr config --reference                  every field: type, default, accepted values, meaning

What is printed is itself a configuration. Mistakes are listed all at once, with file and line. Exit code 66
when the model or a prompt file that it names is missing; what the model was made for (picture size, tokens of a prompt)
then stays 0, as with --only-print.)";

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool reference = false;
  bool only_print = false;
};

// Prints the configuration, then looks for what it names: the model's defaults are filled in only if the model is there.
absl::Status Config(const Arguments& arguments) {
  if (arguments.reference) {
    std::fputs(RunConfigReference().c_str(), stdout);
    return absl::OkStatus();
  }
  if (arguments.config.empty())
    return UsageError("name a configuration file, e.g. `flowawr config configs/tiny-ocr.yaml`");
  FLOWAWR_ASSIGN_OR_RETURN(v1::RunConfig config, LoadRunConfig(arguments.config, arguments.overrides));
  absl::Status status;
  if (!arguments.only_print) {
    status = CheckRunInputs(config);
    status.Update(Annotate(FillInModelDefaults(config.mutable_model()), "model.path"));
  }
  FLOWAWR_ASSIGN_OR_RETURN(const std::string yaml, RunConfigToYaml(config));
  std::fputs(yaml.c_str(), stdout);
  std::fflush(stdout);  // before an error on stderr
  return status;
}

}  // namespace

void AddConfigCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("config", kDescription);
  command->footer(kFooter);
  command->add_option("CONFIG", arguments->config, "the YAML file of a run");
  AddSetOption(*command, &arguments->overrides);
  command->add_flag("--only-print", arguments->only_print, "do not look whether model and prompts are there");
  command->add_flag("--reference", arguments->reference, "print the description of all fields (Markdown) instead");
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(Config(*arguments)); });
}

}  // namespace flowawr
