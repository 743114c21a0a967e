// `flowawr config` as people run it.
#include "cli/config_command.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/outcome.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string WriteConfig(const TempFolder& folder, const std::string& model) {
  const std::string prompts = folder.Write("prompts.txt", "a sign that says \"CAT\"\n");
  return folder.Write(
      "run.yaml", absl::StrCat("run_dir: run\nmodel: {path: ", model, "}\nprompts: {train: ", prompts,
                               "}\nrewards: {terms: [{scorer: ocr}]}\nevaluation: {every_updates: 0}\n"));
}

TEST(ConfigCommand, PrintsWhatTheModelWasMadeFor) {
  const TempFolder folder;
  const std::string file = WriteConfig(folder, SourceFolder() + "/models/tiny-sd3");
  const Outcome whole = RunFlowawr(folder, absl::StrCat("config ", file, " --set model.width=128"));
  EXPECT_EQ(whole.exit_code, 0) << whole.output;
  for (const char* line :
       {"  height: 32\n", "  width: 128\n", "  max_sequence_length: 12\n", "  samples_per_group: 24\n"})
    EXPECT_THAT(whole.output, HasSubstr(line));
  const Outcome printed = RunFlowawr(folder, absl::StrCat("config --only-print ", file));
  EXPECT_EQ(printed.exit_code, 0) << printed.output;
  EXPECT_THAT(printed.output, HasSubstr("  height: 0\n"));
}

TEST(ConfigCommand, PrintsAllTheSameWhereTheModelIsMissing) {
  const TempFolder folder;
  const Outcome outcome = RunFlowawr(folder, absl::StrCat("config ", WriteConfig(folder, "nowhere")));
  EXPECT_EQ(outcome.exit_code, 66);
  EXPECT_THAT(outcome.output, HasSubstr("  height: 0\n"));
  EXPECT_THAT(outcome.output, HasSubstr("model.path: nowhere does not exist"));
}

TEST(ConfigCommand, TellsHowToFetchAModelOfTheHubAndTheNearestOfThoseThatAreHere) {
  const TempFolder folder;
  const std::string hint = "hf download acme/painter --local-dir FOLDER";
  EXPECT_THAT(RunFlowawr(folder, absl::StrCat("config ", WriteConfig(folder, "acme/painter"))).output, HasSubstr(hint));
  const Outcome near =
      RunFlowawr(folder, absl::StrCat("config ", WriteConfig(folder, SourceFolder() + "/models/tiny-sd")));
  EXPECT_EQ(near.exit_code, 66);
  EXPECT_THAT(near.output, HasSubstr(absl::StrCat("did you mean \"", SourceFolder(), "/models/tiny-sd3\"?")));
  folder.Write("acme/other", "");
  EXPECT_THAT(RunFlowawr(folder, absl::StrCat("config ", WriteConfig(folder, folder / "acme/painter"))).output,
              Not(HasSubstr("hf download")));
}

TEST(SetOption, LeavesTheWordsAfterItsValueToTheCommand) {
  const TempFolder folder;
  const std::string none = folder / "none.yaml";
  for (const char* command : {"config", "encode", "plan", "run"}) {
    const Outcome outcome = RunFlowawr(folder, absl::StrCat(command, " --set seed=2 ", none, " --set seed=3"));
    EXPECT_EQ(outcome.exit_code, 66) << command << ": " << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(none)) << command;
  }
}

}  // namespace
}  // namespace flowawr
