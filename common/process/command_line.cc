#include "common/process/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/shell_quote.h"
#include "common/base/version.h"
#include "common/process/command_tree.h"
#include "common/process/completion.h"
#include "common/process/device_libraries.h"
#include "common/process/exit_code.h"
#include "common/process/libtorch_version.h"
#include "common/process/man_page.h"
#include "common/process/option_values.h"
#include "common/process/processor.h"
#include "common/process/unquoted_words.h"
#include "common/process/wrapped_help.h"

namespace flowawr {
namespace {

constexpr char kEnvironmentHelp[] =
    "Environment: FLOWAWR_CPU=baseline, sse4, avx2, avx512 or avx512_bf16 keeps to those of the processor's instructions.";

}  // namespace

void AddTelemetryOptions(CLI::App& app, TelemetryOptions* options) {
  app.add_option("--metrics", options->metrics, "where /metrics listens; port 0: any free one")
      ->type_name("HOST:PORT")
      ->check(AddressToListenOn())
      ->capture_default_str();
  app.add_option("--metrics-endpoint-file", options->metrics_endpoint_file, "file to write that address to")
      ->type_name("FILE");
  app.add_option("--log-level", options->log_level, "trace, debug, info, warn, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  app.add_option("--log-format", options->log_format,
                 "text, or json: an object a line, for log stores; default: FLOWAWR_LOG_FORMAT in the environment, else text")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"text", "json"}));
}

void AddServingOptions(CLI::App& app, const std::string& listen_help, ServingOptions* options) {
  app.add_option("--listen", options->listen, listen_help)
      ->type_name("HOST:PORT")
      ->check(AddressToListenOn())
      ->capture_default_str();
  app.add_option("--endpoint-file", options->endpoint_file, "file to write that address to, once serving")
      ->type_name("FILE");
}

void AddNetworkConfigOption(CLI::App& app, const std::string& default_help, std::string* file) {
  app.add_option("--network-config", *file,
                 absl::StrCat("file whose section `network` says TLS and token; default: ", default_help))
      ->type_name("CONFIG.yaml");
}

namespace {

// The one of `app`'s commands that was called.
const CLI::App& CommandOf(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  return *command;
}

// "flowawr reward load".
std::string CommandName(const CLI::App& app) {
  std::string name;
  for (const CLI::App* command = &CommandOf(app); command != nullptr; command = command->get_parent())
    name = absl::StrCat(command->get_name(), name.empty() ? "" : " ", name);
  return name;
}

bool IsThere(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// What may have been meant by the words that nobody took, and which of them stands where a command should; a line each,
// or nothing.
std::string DescribeUnknownWords(const CLI::App& app, absl::FunctionRef<std::string(const std::string&)> hint) {
  const CLI::App* command = &CommandOf(app);
  std::vector<std::string> options, commands;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
  for (const CLI::App* other : command->get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(other->get_name());
  std::string text;
  bool is_commands_place = !commands.empty();
  for (const std::string& argument : app.remaining(true)) {
    const std::string word = argument.substr(0, argument.find('='));
    const bool is_option = absl::StartsWith(word, "--") && word.size() > 2;
    std::string meant = is_option ? DidYouMean(word, options) : DidYouMean(word, commands);
    if (meant.empty()) meant = hint(word);
    const bool is_taken_for_command = is_commands_place && !is_option;
    if (!meant.empty() || is_taken_for_command) absl::StrAppend(&text, word, " is not known here", meant, "\n");
    if (is_taken_for_command) is_commands_place = false;
  }
  return text;
}

// A shell turns ~ into a folder at the beginning of a word only. Empty: no such mistake.
std::string FindTilde(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    const size_t at = absl::StartsWith(word, "--") ? word.find('=') : absl::string_view::npos;
    if (at == absl::string_view::npos || word.substr(0, at) == "--prompt") continue;
    if (absl::StartsWith(word.substr(at + 1), "~/"))
      return absl::StrCat(word, ": the shell does not expand ~ there; write ", word.substr(0, at), " ~/",
                          at + 3 < word.size() ? ShellQuote(word.substr(at + 3)) : "");
  }
  return "";
}

// What installing asks every program for, and --help does not mention: its manual page and its completions.
std::optional<int> WriteAboutCommandLine(const CLI::App& app, int argc, const char* const* argv) {
  if (argc == 2 && argv[1] == absl::string_view("--man-page")) {
    std::fputs(ManPage(CommandTreeOf(app), Version()).c_str(), stdout);
    return 0;
  }
  if (argc != 3 || argv[1] != absl::string_view("--completion")) return std::nullopt;
  const absl::StatusOr<std::string> script = CompletionScript(CommandTreeOf(app), argv[2]);
  if (script.ok()) std::fputs(script->c_str(), stdout);
  return ReportAndExitCodeOf(script.status());
}

}  // namespace

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    absl::FunctionRef<absl::Status()> finish,
                                    absl::FunctionRef<std::string(const std::string&)> hint) {
  if (const absl::Status restricted = RestrictProcessor(); !restricted.ok()) {
    ReportAndExitCodeOf(restricted);
    return kUsageExitCode;
  }
  PrepareDeviceLibraries();
  if (const absl::Status usable = CheckLibTorch(); !usable.ok()) return ReportAndExitCodeOf(usable);
  app.set_version_flag("--version", Version());
  const std::string footer = app.get_footer();
  app.footer(absl::StrCat(footer, footer.empty() ? "" : "\n", kExitCodesHelp, "\n", kEnvironmentHelp));
  WrapHelp(app);
  if (const std::optional<int> written = WriteAboutCommandLine(app, argc, argv)) return written;
  if (const std::string tilde = FindTilde(argc, argv); !tilde.empty()) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), tilde.c_str());
    return kUsageExitCode;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) {
      if (error.get_exit_code() != 0) std::fputs(DescribeUnknownWords(app, hint).c_str(), stderr);
      return app.exit(error) == 0 ? 0 : kUsageExitCode;
    }
    // CLI11 would list them backwards.
    std::fprintf(stderr, "%s: not expected here: %s\n%s%sRun with --help for more information.\n",
                 CommandName(app).c_str(), absl::StrJoin(app.remaining(true), " ").c_str(),
                 DescribeUnknownWords(app, hint).c_str(),
                 DescribeUnquotedWords(app, {argv + 1, argv + argc}, /*may_be_taken=*/false, IsThere).c_str());
    return kUsageExitCode;
  }
  const absl::Status finished = finish();
  if (!finished.ok()) return ReportAndExitCodeOf(finished);
  return std::nullopt;
}

}  // namespace flowawr
