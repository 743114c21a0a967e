#include "common/process/wrapped_help.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(WrapHelp, BreaksWhatIsSaidOfTheOptionsOfEveryCommand) {
  CLI::App app("A tool", "tool");
  CLI::App* const command = app.add_subcommand("run", "Runs");
  std::vector<std::string> written;
  for (int i = 0; i < 60; ++i) written.push_back(absl::StrCat("word", i));
  const std::string text = absl::StrJoin(written, " "), few = "no more than this";
  app.add_flag("--own", text);
  command->add_flag("--of-the-command", text);
  command->add_flag("--short", few);
  WrapHelp(app);
  for (const std::string& help : {app.help(), command->help()}) {
    std::vector<std::string> words;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(help, '\n'))) {
      EXPECT_LE(line.size(), 120) << line;
      for (const absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty()))
        if (word.substr(0, 4) == "word") words.emplace_back(word);
    }
    EXPECT_EQ(words, written);
    EXPECT_THAT(help, HasSubstr("\n                              word"));
  }
  EXPECT_THAT(command->help(), HasSubstr("--short                     no more than this\n"));
}

TEST(WrapHelp, LeavesALongWordWhole) {
  CLI::App app("A tool", "tool");
  const std::string address(200, 'x'), text = absl::StrCat("see ", address, " there");
  app.add_flag("--own", text);
  WrapHelp(app);
  const std::string indent(30, ' ');
  EXPECT_THAT(app.help(), HasSubstr(absl::StrCat("see\n", indent, address, "\n", indent, "there\n")));
}

}  // namespace
}  // namespace flowawr
