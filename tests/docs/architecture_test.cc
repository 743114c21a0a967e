// docs/architecture.md names, for everything that must always hold, the tests that guard it: they are there.
#include <gtest/gtest.h>

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

// What stands in backticks in the last column of the table.
std::vector<std::string> NamedTests() {
  const std::string page = ReadFile("docs/architecture.md").value();
  const size_t begin = page.find("## What must always hold"), end = page.find("\n## ", begin + 1);
  EXPECT_NE(begin, page.npos);
  std::vector<std::string> names;
  static const std::regex row(R"(\n\|(.*)\|([^|\n]*)\|)"), quoted("`([^`]+)`");
  const std::string table = page.substr(begin, end - begin);
  for (std::sregex_iterator line(table.begin(), table.end(), row), none; line != none; ++line) {
    const std::string guards = (*line)[2];
    const size_t before = names.size();
    for (std::sregex_iterator name(guards.begin(), guards.end(), quoted); name != none; ++name)
      names.push_back((*name)[1]);
    if (!absl::StrContains(guards, "---") && !absl::StrContains(guards, "guard")) {
      EXPECT_GT(names.size(), before) << "no test guards: " << (*line)[1];
    }
  }
  return names;
}

TEST(ArchitectureTable, NamesTestsThatAreThere) {
  const std::set<std::string> tests = AllTests();
  ASSERT_GT(tests.size(), 500);
  const std::vector<std::string> names = NamedTests();
  ASSERT_GT(names.size(), 50);
  for (const std::string& name : names) {
    if (absl::StrContains(name, "/")) {  // a folder or file of tests
      EXPECT_TRUE(fs::exists(name)) << name;
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

}  // namespace
}  // namespace flowawr
