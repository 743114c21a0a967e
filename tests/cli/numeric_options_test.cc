// Every option of every program that takes a number or an address refuses what is none and says what is accepted.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actor/options.h"
#include "cli/config_command.h"
#include "cli/control_commands.h"
#include "cli/encode_command.h"
#include "cli/export_command.h"
#include "cli/plan_command.h"
#include "cli/reward_commands.h"
#include "cli/run_command.h"
#include "cli/sample_command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "learner/options.h"
#include "reward_server/options.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

const char* const kNoWholeNumbers[] = {"nan", "inf", "-1", "99999999999999999999", "1.5", "0x10", "many", ""};
const char* const kNoNumbers[] = {"nan", "inf", "-inf", "1e999", "1e300", "-1e300", "much", ""};
const char* const kNoAddresses[] = {"127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:nan", "127.0.0.1", "7", ""};

struct Checked {
  const char* option;
  bool is_whole = true;  // else any number
};

struct Program {
  std::string name;
  std::function<std::optional<int>(std::vector<const char*>)> parse;
  std::vector<Checked> numbers;
  std::vector<const char*> addresses;
};

template <typename Options>
std::function<std::optional<int>(std::vector<const char*>)> By(Parsed<Options> (*parse)(int, const char* const*)) {
  return [parse](std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "program");
    return parse(static_cast<int>(arguments.size()), arguments.data()).exit_code;
  };
}

TEST(NumericOptions, OfTheServicesAreChecked) {
  const Program programs[] = {
      {"flowawr-learner", By(ParseLearnerOptions), {{"--lock-fd"}, {"--rank"}, {"--world"}},
       {"--listen", "--metrics", "--reward-endpoint"}},
      {"flowawr-actor",
       By(ParseActorOptions),
       {{"--threads"}, {"--score-workers"}, {"--evaluation-rows"}, {"--give-up-after", false}},
       {"--learner", "--metrics"}},
      {"flowawr-reward-server",
       By(ParseRewardServerOptions),
       {{"--threads"},
        {"--max-batch"},
        {"--max-queued"},
        {"--max-image-side"},
        {"--max-pending-mib"},
        {"--max-wait-ms", false},
        {"--max-image-seconds", false},
        {"--stuck-seconds", false}},
       {"--listen", "--metrics"}},
  };
  for (const Program& program : programs) {
    const auto error = [&program](const char* option, const char* value) {
      testing::internal::CaptureStderr();
      const std::optional<int> exit_code = program.parse({option, value});
      const std::string text = testing::internal::GetCapturedStderr();
      EXPECT_EQ(exit_code, 64) << program.name << " " << option << " " << value;
      return text;
    };
    for (const Checked& number : program.numbers) {
      for (const char* value : kNoWholeNumbers)
        if (number.is_whole) {
          EXPECT_THAT(error(number.option, value),
                      HasSubstr(absl::StrCat(number.option, ": \"", value, "\" is not a whole number from ")));
        }
      for (const char* value : kNoNumbers)
        if (!number.is_whole) {
          EXPECT_THAT(error(number.option, value),
                      HasSubstr(absl::StrCat(number.option, ": \"", value, "\" is not a number from ")));
        }
    }
    for (const char* option : program.addresses)
      for (const char* value : kNoAddresses)
        EXPECT_THAT(error(option, value), HasSubstr(absl::StrCat(option, ": \"", value, "\" is not an address")));
  }
}

// The options of `flowawr` are found by what CLI11 knows of them, so that a new one is checked, too.
struct CommandOption {
  std::vector<std::string> path;  // of the command
  std::string name, type;
};

void FindOptions(CLI::App& app, const std::vector<std::string>& path, std::vector<CommandOption>& found) {
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      found.push_back({path, "--" + name, option->get_type_name()});
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    std::vector<std::string> below = path;
    below.push_back(command->get_name());
    FindOptions(*command, below, found);
  }
}

std::string ErrorOf(CLI::App& app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

void AddCommands(CLI::App& app, int* exit_code) {
  for (void (*add)(CLI::App&, int*) : {AddRunCommand, AddControlCommands, AddExportCommand, AddRewardCommands,
                                       AddEncodeCommand, AddSampleCommand, AddPlanCommand, AddConfigCommand})
    add(app, exit_code);
}

// CLI11 2.4 ends a program whose options have other names, when they are made.
void ExpectPlainNames(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    EXPECT_EQ(option->get_name(/*positional=*/true, /*all_options=*/true).find_first_of("=:{ "), std::string::npos)
        << app.get_name() << " " << option->get_name(true, true);
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) ExpectPlainNames(*command);
}

TEST(CommandLineNames, AreThoseThatEveryCli11Takes) {
  CLI::App app("", "flowawr");
  int exit_code = 0;
  AddCommands(app, &exit_code);
  ExpectPlainNames(app);
}

TEST(NumericOptions, OfEveryCommandAreChecked) {
  CLI::App app("", "flowawr");
  int exit_code = 0;
  AddCommands(app, &exit_code);
  std::vector<CommandOption> options;
  FindOptions(app, {}, options);
  int whole = 0, real = 0, addresses = 0;
  for (const CommandOption& option : options) {
    const auto error = [&](const std::string& value) {
      std::vector<std::string> words = option.path;
      words.insert(words.end(), {option.name, value});
      return ErrorOf(app, words);
    };
    const std::string what = absl::StrCat(absl::StrJoin(option.path, " "), " ", option.name);
    if (absl::StartsWith(option.type, "INT") || absl::StartsWith(option.type, "UINT")) {
      ++whole;
      for (const char* value : kNoWholeNumbers)
        EXPECT_THAT(error(value), HasSubstr(absl::StrCat("\"", value, "\" is not a whole number from "))) << what;
    } else if (absl::StartsWith(option.type, "FLOAT")) {
      ++real;
      for (const char* value : kNoNumbers)
        EXPECT_THAT(error(value), HasSubstr(absl::StrCat("\"", value, "\" is not a number from "))) << what;
    } else if (option.name == "--learner" || option.name == "--server") {
      ++addresses;
      for (const char* value : kNoAddresses)
        EXPECT_THAT(error(value), HasSubstr(absl::StrCat("\"", value, "\" is not an address"))) << what;
    }
  }
  EXPECT_GE(whole, 12);
  EXPECT_GE(real, 3);
  EXPECT_GE(addresses, 10);
}

}  // namespace
}  // namespace flowawr
