// docs/architecture.md names, for everything that must always hold, the tests that guard it, and docs/security.md those
// that hold each threat: they are there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

// "Suite.Name" of every test in the sources, without the prefixes of instantiations.
std::set<std::string> AllTests() {
  static const std::regex test(R"(\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\))");
  std::set<std::string> tests;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator("tests")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string source = ReadFile(entry.path().string()).value();
    for (std::sregex_iterator found(source.begin(), source.end(), test), end; found != end; ++found)
      tests.insert((*found)[1].str() + "." + (*found)[2].str());
  }
  return tests;
}

// What stands in backticks in the last column of the table below `heading`.
std::vector<std::string> NamedTests(const std::string& file, const std::string& heading) {
  const std::string page = ReadFile(file).value();
  const size_t begin = page.find(heading), end = page.find("\n## ", begin + 1);
  EXPECT_NE(begin, page.npos);
  std::vector<std::string> names;
  static const std::regex row(R"(\n\|(.*)\|([^|\n]*)\|)"), quoted("`([^`]+)`");
  const std::string table = page.substr(begin, end - begin);
  for (std::sregex_iterator line(table.begin(), table.end(), row), none; line != none; ++line) {
    const std::string guards = (*line)[2];
    const size_t before = names.size();
    for (std::sregex_iterator name(guards.begin(), guards.end(), quoted); name != none; ++name)
      names.push_back((*name)[1]);
    if (!absl::StrContains(guards, "---") && !absl::StrContains(guards, "guard") && guards != " tests ") {
      EXPECT_GT(names.size(), before) << "no test guards: " << (*line)[1];
    }
  }
  return names;
}

// "FILE.py::test_name" is there when the file defines it; another name with "/" is a folder or file of tests.
bool IsThere(const std::string& path) {
  const size_t colons = path.find("::");
  if (colons == path.npos) return fs::exists(path);
  const auto source = ReadFile(path.substr(0, colons));
  return source.ok() && absl::StrContains(*source, "def " + path.substr(colons + 2) + "(");
}

void ExpectAreThere(const std::vector<std::string>& names) {
  const std::set<std::string> tests = AllTests();
  ASSERT_GT(tests.size(), 500);
  for (const std::string& name : names) {
    if (absl::StrContains(name, "/")) {
      EXPECT_TRUE(IsThere(name)) << name;
      continue;
    }
    // "Suite" alone stands for all of it; `*` for anything.
    const std::string whole = absl::StrContains(name, ".") ? name : name + ".*";
    const std::regex pattern(absl::StrReplaceAll(whole, {{".", "\\."}, {"*", ".*"}}));
    bool is_there = false;
    for (const std::string& test : tests) is_there = is_there || std::regex_match(test, pattern);
    EXPECT_TRUE(is_there) << "no test is called " << name;
  }
}

TEST(ArchitectureTable, NamesTestsThatAreThere) {
  const std::vector<std::string> names = NamedTests("docs/architecture.md", "## What must always hold");
  ASSERT_GT(names.size(), 50);
  ExpectAreThere(names);
}

TEST(SecurityTable, NamesTestsThatAreThere) {
  const std::vector<std::string> names = NamedTests("docs/security.md", "## Threats");
  ASSERT_GT(names.size(), 20);
  ExpectAreThere(names);
}

// What docs/architecture.md says of the learner's size, by the symbols of the program.
TEST(Architecture, TheLearnerLinksNeitherTextEncodersNorVae) {
  const std::string program = std::string(std::getenv("FLOWAWR_BUILD_DIR")) + "/bin/flowawr-learner";
  const auto symbols = [&](const std::string& pattern) {
    return std::system(("nm -C " + program + " | grep -q '" + pattern + "'").c_str()) == 0;
  };
  ASSERT_TRUE(symbols("flowawr::Transformer::Forward")) << program;
  for (const char* of_others :
       {"flowawr::Vae::", "flowawr::T5Encoder::", "flowawr::ClipTextEncoder::", "flowawr::Tokenizer::"})
    EXPECT_FALSE(symbols(of_others)) << of_others;
}

}  // namespace
}  // namespace flowawr
