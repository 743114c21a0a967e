#include "common/process/unquoted_words.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"

namespace flowawr {
namespace {

// The line that is suggested, without the program's name; "" where none is. Runs are folders that are there.
std::string Suggestion(const std::vector<std::string>& words, bool may_be_taken = false) {
  CLI::App app("", "program");
  std::string folder, out, name;
  std::vector<std::string> prompts, folders;
  int count = 0;
  bool base = false;
  CLI::App* draw = app.add_subcommand("draw");
  draw->add_option("RUN_DIR,--run-dir", folder);
  draw->add_option("--prompt", prompts)->allow_extra_args(false);
  draw->add_option("--out", out);
  draw->add_option("--count", count)->check(CLI::Range(1, 9));
  draw->add_flag("--base", base);
  CLI::App* load = app.add_subcommand("server")->add_subcommand("load");
  load->add_option("NAME", name);
  load->add_option("RUN_DIR,--run-dir", folder);
  load->add_option("--out", out);
  app.add_subcommand("compare")->add_option("RUN_DIR", folders)->expected(2, 8);
  const std::string text = DescribeUnquotedWords(app, words, may_be_taken, [](const std::string& path) {
    return std::set<std::string>{"runs/a", "runs/b", "models"}.contains(path);
  });
  if (text.empty()) return "";
  EXPECT_NE(text.find("needs quotes around it"), std::string::npos) << text;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_EQ(lines.size(), 3u) << text;
  EXPECT_EQ(lines[1].substr(0, 10), "  program ") << text;
  return lines[1].substr(10);
}

TEST(DescribeUnquotedWords, ShowsTheLineAsItShouldBe) {
  struct Case {
    std::vector<std::string> words;
    std::string expected;
  };
  for (const Case& c : {
           Case{{"draw", "runs/a", "--prompt", "a", "sign"}, "draw runs/a --prompt 'a sign'"},
           Case{{"draw", "--prompt", "a", "sign", "that", "says"}, "draw --prompt 'a sign that says'"},
           Case{{"draw", "--prompt=a", "sign", "here"}, "draw '--prompt=a sign here'"},
           Case{{"draw", "--run-dir", "runs/a", "--prompt", "a", "sign"}, "draw --run-dir runs/a --prompt 'a sign'"},
           // What else holds spaces is quoted, and several values are mended at once.
           Case{{"draw", "--prompt", "it's", "so", "--out", "my", "folder", "--prompt", "a b"},
                "draw --prompt 'it'\\''s so' --out 'my folder' --prompt 'a b'"},
           // A command's name within a prompt.
           Case{{"draw", "--prompt", "a", "server", "room"}, "draw --prompt 'a server room'"},
           // The folder may come last.
           Case{{"draw", "--prompt", "a", "sign", "runs/a"}, "draw --prompt 'a sign' runs/a"},
           Case{{"draw", "runs/b", "--prompt", "a", "sign", "runs/a"}, "draw runs/b --prompt 'a sign runs/a'"},
           // One folder, split.
           Case{{"draw", "my", "run", "--base"}, "draw 'my run' --base"},
           // Nothing to say: as it should be, ...
           Case{{"draw", "runs/a", "--prompt", "a sign"}, ""},
           Case{{"draw", "--prompt", "a", "runs/a"}, ""},
           Case{{"server", "load", "x", "runs/a", "--out", "y"}, ""},
           Case{{}, ""},
           Case{{"draw"}, ""},
           Case{{"--prompt"}, ""},
           Case{{"draw", "--prompt"}, ""},
           // ... too much in another way, or nobody can tell where the words belong.
           Case{{"draw", "runs/a", "--count", "3", "cat"}, ""},
           Case{{"draw", "runs/a", "--base", "cat"}, ""},
           Case{{"draw", "--out", "x", "runs/a", "runs/b"}, ""},
           Case{{"draw", "runs/a", "runs/b"}, ""},
           Case{{"server", "load", "a", "b", "c"}, ""},
           Case{{"drwa", "--prompt", "a", "sign"}, ""},
       })
    EXPECT_EQ(Suggestion(c.words), c.expected) << testing::PrintToString(c.words);
}

TEST(DescribeUnquotedWords, AlsoWhereAWordWasTakenAsAFolderThatIsNotThere) {
  EXPECT_EQ(Suggestion({"draw", "--prompt", "a", "sign"}), "");
  EXPECT_EQ(Suggestion({"draw", "--prompt", "a", "sign"}, true), "draw --prompt 'a sign'");
  EXPECT_EQ(Suggestion({"draw", "--base", "--out", "my", "folder"}, true), "draw --base --out 'my folder'");
  EXPECT_EQ(Suggestion({"draw", "--prompt", "a", "runs/a"}, true), "");
  EXPECT_EQ(Suggestion({"draw", "gone", "--prompt", "a"}, true), "");
  EXPECT_EQ(Suggestion({"draw", "--count", "3", "gone"}, true), "");
  EXPECT_EQ(Suggestion({"compare", "runs/a", "gone"}, true), "") << "two folders, one of which is not there";
}

}  // namespace
}  // namespace flowawr
