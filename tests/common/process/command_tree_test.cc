// What is written out of a command line: completions that a shell really reads, and a manual page.
#include "common/process/command_tree.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/process/completion.h"
#include "common/process/man_page.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StrEq;

class CommandTree : public ::testing::Test {
 protected:
  CommandTree() {
    app_.add_option("--secret", text_, "for us alone")->group("");
    CLI::App* run = app_.add_subcommand("run", "Train; it's what this is for\n\nMore of it.");
    run->add_option("CONFIG", text_, "the file")->required();
    run->add_option("-s,--set", text_, "PATH=VALUE")->type_name("PATH=VALUE");
    run->add_flag("--resume", is_set_, "go on");
    CLI::App* reward = app_.add_subcommand("reward", "Rewards");
    reward->add_subcommand("load", "Load one")->add_option("--server", text_, "where")->type_name("HOST:PORT");
    reward->add_subcommand("list", "List them");
  }

  // What bash offers for the last of `words`.
  std::string Completed(const std::string& words) const {
    const TempFolder folder;
    const std::string script = folder.Write("script", CompletionScript(CommandTreeOf(app_), "bash").value());
    const std::string command =
        absl::StrCat("bash -c 'source ", script, "; COMP_WORDS=(", words,
                     "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tool; echo \"${COMPREPLY[*]}\"' 2>&1");
    std::string output;
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    for (size_t got = 0; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) output.append(buffer.data(), got);
    EXPECT_EQ(pclose(pipe), 0) << output;
    return output;
  }

  CLI::App app_{"Does things.", "tool"};
  std::string text_;
  bool is_set_ = false;
};

TEST_F(CommandTree, BashCompletesCommandsOptionsAndNothingWhereAFileIsWanted) {
  EXPECT_THAT(Completed("tool r"), StrEq("run reward\n"));
  EXPECT_THAT(Completed("tool run --"), StrEq("--help --set --resume\n"));
  EXPECT_THAT(Completed("tool run -"), StrEq("-h --help -s --set --resume\n"));
  EXPECT_THAT(Completed("tool reward l"), StrEq("load list\n"));
  EXPECT_THAT(Completed("tool reward load --s"), StrEq("--server\n"));
  EXPECT_THAT(Completed("tool reward load --server r"), StrEq("\n")) << "a value";
  EXPECT_THAT(Completed("tool run c"), StrEq("\n")) << "a file";
  EXPECT_THAT(Completed("tool --s"), StrEq("\n")) << "hidden";
}

TEST_F(CommandTree, EveryShellGetsEveryCommandAndAnotherIsTold) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const auto script = CompletionScript(CommandTreeOf(app_), shell);
    ASSERT_TRUE(script.ok());
    for (const char* word : {"run", "load", "list", "server", "resume"}) EXPECT_THAT(*script, HasSubstr(word)) << shell;
    EXPECT_THAT(*script, Not(HasSubstr("secret"))) << shell;
  }
  EXPECT_THAT(CompletionScript(CommandTreeOf(app_), "bsh").status().message(), HasSubstr("did you mean \"bash\"?"));
}

TEST_F(CommandTree, AManualPageTellsWhatHelpTells) {
  const std::string page = ManPage(CommandTreeOf(app_), "1.2");
  for (const char* text : {".TH TOOL 1 \"\" \"FlowAWR 1.2\"", "tool \\- Does things\n", ".SS tool reward load\n",
                           "\\fB\\-\\-server\\fR \\fIHOST:PORT\\fR\nwhere\n", "\\fICONFIG\\fR", "More of it."})
    EXPECT_THAT(page, HasSubstr(text));
  EXPECT_THAT(page, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace flowawr
