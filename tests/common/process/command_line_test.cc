#include "common/process/command_line.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "common/process/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// A program with all the shared options and one of its own.
struct Program {
  TelemetryOptions telemetry;
  ServingOptions serving;
  std::string network_config;
  int threads = 1;
  absl::Status finish;
  std::string output;

  std::optional<int> Parse(std::vector<const char*> arguments) {
    CLI::App app("Does nothing", "program");
    app.footer("Its own last words.");
    app.add_option("--threads", threads);
    AddServingOptions(app, "where", &serving);
    AddNetworkConfigOption(app, "none", &network_config);
    AddTelemetryOptions(app, &telemetry);
    arguments.insert(arguments.begin(), "program");
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const auto exit_code =
        ParseCommandLine(app, static_cast<int>(arguments.size()), arguments.data(), [this] { return finish; });
    output = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
    return exit_code;
  }
};

TEST(ParseCommandLine, ReadsTheSharedOptions) {
  Program program;
  EXPECT_FALSE(program.Parse({"--metrics", "127.0.0.1:9", "--metrics-endpoint-file", "m", "--log-level", "debug",
                              "--listen", "127.0.0.1:8", "--endpoint-file", "e", "--network-config", "n.yaml"}));
  EXPECT_EQ(program.telemetry.metrics, "127.0.0.1:9");
  EXPECT_EQ(program.telemetry.metrics_endpoint_file, "m");
  EXPECT_EQ(program.telemetry.log_level, "debug");
  EXPECT_EQ(program.serving.listen, "127.0.0.1:8");
  EXPECT_EQ(program.serving.endpoint_file, "e");
  EXPECT_EQ(program.network_config, "n.yaml");
  EXPECT_EQ(program.output, "");
}

TEST(ParseCommandLine, LeavesWithZeroAfterHelpAndVersion) {
  Program program;
  EXPECT_EQ(program.Parse({"--version"}), 0);
  EXPECT_EQ(program.Parse({"--help"}), 0);
  for (const char* text : {"Its own last words.\nExit codes: 0 done", "--metrics", "default: none"})
    EXPECT_THAT(program.output, HasSubstr(text));
}

TEST(ParseCommandLine, LeavesWithUsageAfterAMistake) {
  Program program;
  EXPECT_EQ(program.Parse({"--colour"}), kUsageExitCode);
  EXPECT_THAT(program.output, HasSubstr("--colour"));
  EXPECT_EQ(program.Parse({"--threads", "many"}), kUsageExitCode);
}

TEST(ParseCommandLine, GuessesWhatAMisspeltOptionMeans) {
  Program program;
  EXPECT_EQ(program.Parse({"--thraeds", "2"}), kUsageExitCode);
  EXPECT_THAT(program.output, HasSubstr("--thraeds is not known here; did you mean \"--threads\"?"));
}

TEST(ParseCommandLine, NamesTheWordThatIsNoCommandFirst) {
  const auto complaint = [](std::vector<const char*> arguments) {
    CLI::App app("Does nothing", "program");
    app.add_subcommand("watch");
    app.require_subcommand(1);
    arguments.insert(arguments.begin(), "program");
    testing::internal::CaptureStderr();
    EXPECT_EQ(ParseCommandLine(app, static_cast<int>(arguments.size()), arguments.data()), kUsageExitCode);
    return testing::internal::GetCapturedStderr();
  };
  const std::string required = "A subcommand is required\nRun with --help for more information.\n";
  EXPECT_EQ(complaint({"wach", "runs/a"}), "wach is not known here; did you mean \"watch\"?\n" + required);
  EXPECT_EQ(complaint({"train", "a.yaml"}), "train is not known here\n" + required);
  EXPECT_EQ(complaint({}), required);
}

TEST(ParseCommandLine, ListsWordsTooManyInTheirOrderAndShowsTheQuotes) {
  Program program;
  EXPECT_EQ(program.Parse({"--network-config", "my", "own", "file"}), kUsageExitCode);
  EXPECT_THAT(program.output, HasSubstr("program: not expected here: own file\n"));
  EXPECT_THAT(program.output, HasSubstr("program --network-config 'my own file'\n"));
}

TEST(ParseCommandLine, ChecksSharedAddresses) {
  for (const char* option : {"--listen", "--metrics"}) {
    Program program;
    EXPECT_EQ(program.Parse({option, "127.0.0.1:-1"}), kUsageExitCode) << option;
    EXPECT_THAT(program.output, HasSubstr("the port is not a number from 0 to 65535"));
    EXPECT_FALSE(program.Parse({option, "127.0.0.1:0"})) << option;
  }
}

TEST(ParseCommandLine, NamesATildeThatNoShellExpands) {
  Program program;
  EXPECT_EQ(program.Parse({"--threads=~/x"}), kUsageExitCode);
  EXPECT_THAT(program.output, HasSubstr("write --threads ~/x\n"));
  EXPECT_EQ(program.Parse({"--network-config=~/my file"}), kUsageExitCode);
  EXPECT_THAT(program.output, HasSubstr("write --network-config ~/'my file'\n"));  // quoted, ~ would stay as it is
}

TEST(ParseCommandLine, LeavesWithTheCodeOfWhatCouldNotBeRead) {
  Program program;
  program.finish = absl::NotFoundError("n.yaml is not there");
  EXPECT_EQ(program.Parse({}), 66);
  EXPECT_THAT(program.output, HasSubstr("n.yaml is not there"));
}

}  // namespace
}  // namespace flowawr
