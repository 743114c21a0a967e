#include "common/base/shell_quote.h"

#include <cstdio>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

// What the shell makes of it.
std::string AsTheShellReads(const std::string& quoted) {
  FILE* const shell = popen(("printf %s " + quoted).c_str(), "r");
  char buffer[256];
  const size_t size = std::fread(buffer, 1, sizeof(buffer), shell);
  pclose(shell);
  return std::string(buffer, size);
}

TEST(ShellQuote, GivesOneWordThatTheShellReadsBack) {
  for (const char* word :
       {"runs/a", "my runs/it's \"here\"", "a;b", "$HOME", "a\\b", "a*", "~", "tab\there", "größe", "-x"})
    EXPECT_EQ(AsTheShellReads(ShellQuote(word)), word);
  EXPECT_EQ(ShellQuote(""), "''");
}

TEST(ShellQuote, LeavesWhatNeedsNoQuotesAsItIs) { EXPECT_EQ(ShellQuote("runs/tiny-ocr_2.0"), "runs/tiny-ocr_2.0"); }

}  // namespace
}  // namespace flowawr
