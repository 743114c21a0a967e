#include "reward_server/scorer_options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(ScorerOptionsTest, ReadsValuesAndDefaults) {
  ScorerOptions options({{"n", "7"}, {"f", "true"}, {"t", "x"}, {"c", "b"}});
  EXPECT_EQ(options.Integer("n", 1, 0, 10), 7);
  EXPECT_EQ(options.Integer("m", 3, 0, 10), 3);
  EXPECT_TRUE(options.Flag("f", false));
  EXPECT_FALSE(options.Flag("g", false));
  EXPECT_EQ(options.Text("t", ""), "x");
  EXPECT_EQ(options.Choice("c", "a", {"a", "b"}), "b");
  EXPECT_TRUE(options.Finish().ok());
}

TEST(ScorerOptionsTest, KeepsTheFirstMistake) {
  ScorerOptions options({{"n", "11"}, {"c", "z"}});
  options.Integer("n", 1, 0, 10);
  options.Choice("c", "a", {"a", "b"});
  EXPECT_THAT(std::string(options.Finish().message()), HasSubstr("n=11: expected an integer from 0 to 10"));
}

TEST(ScorerOptionsTest, RefusesWhatIsNoNumber) {
  ScorerOptions options(std::map<std::string, std::string>{{"n", "7x"}});
  options.Integer("n", 1, 0, 10);
  EXPECT_TRUE(absl::IsInvalidArgument(options.Finish()));
}

TEST(ScorerOptionsTest, RefusesOptionsThatNobodyKnows) {
  ScorerOptions options(std::map<std::string, std::string>{{"colour", "red"}});
  options.Integer("margin", 1, 0, 10);
  EXPECT_THAT(std::string(options.Finish().message()), HasSubstr("unknown option colour; there are margin"));
}

TEST(ScorerOptionsTest, NamesTheNearestOptionAlsoOfThoseThatEveryScorerHas) {
  const auto error = [](const char* name) {
    ScorerOptions options(std::map<std::string, std::string>{{name, "2"}});
    options.Integer("margin", 1, 0, 10);
    return std::string(options.Finish().message());
  };
  EXPECT_THAT(error("thread"), HasSubstr("and of every scorer threads, device"));
  EXPECT_THAT(error("thread"), HasSubstr("did you mean \"threads\"?"));
  EXPECT_THAT(error("magrin"), HasSubstr("did you mean \"margin\"?"));
}

}  // namespace
}  // namespace flowawr
