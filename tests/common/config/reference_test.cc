#include <string>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/config/run_config.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(RunConfigReference, IsWhatTheDocumentationShows) {
  const auto page = ReadFile("docs/configuration.md");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, RunConfigReference())
      << "make it again: build/release/bin/flowawr-config-reference > docs/configuration.md";
}

TEST(RunConfigReference, ShowsDefaultsBoundsAndHelp) {
  const std::string page = RunConfigReference();
  EXPECT_TRUE(absl::StrContains(page, "\n## rewards.terms.N\n"));
  EXPECT_TRUE(absl::StrContains(page, "| `rank` | `32` | a whole number from 1 to 1024 |"));
  EXPECT_TRUE(absl::StrContains(page, "| `energy` | `soft` | `soft`, `hard` |"));
  EXPECT_TRUE(absl::StrContains(page, "| `run_dir` | **required** |"));
}

}  // namespace
}  // namespace flowawr
