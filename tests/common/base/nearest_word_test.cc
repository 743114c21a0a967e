#include "common/base/nearest_word.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

const std::vector<std::string> kNames = {"run", "sample", "status", "learning_rate", "weight_decay"};

TEST(NearestWord, FindsSlipsOfEveryKind) {
  EXPECT_EQ(NearestWord("smaple", kNames), "sample");
  EXPECT_EQ(NearestWord("samle", kNames), "sample");
  EXPECT_EQ(NearestWord("staatus", kNames), "status");
  EXPECT_EQ(NearestWord("ru", kNames), "run");
  EXPECT_EQ(NearestWord("learnign_rte", kNames), "learning_rate");
  EXPECT_EQ(NearestWord("Weight_Decay", kNames), "weight_decay");
}

TEST(NearestWord, FindsWhatAnAbbreviationStandsFor) {
  EXPECT_EQ(NearestWord("bf16", {"float32", "bfloat16"}), "bfloat16");
  EXPECT_EQ(NearestWord("fp32", {"float32", "bfloat16"}), "") << "there is no p in it";
  EXPECT_EQ(NearestWord("abz", {"a_long_b_z", "a_longer_b_z"}), "") << "either may be meant";
}

TEST(NearestWord, FindsNothingFarAway) {
  for (const char* word : {"", "colour", "xyz", "rxy", "f"}) EXPECT_EQ(NearestWord(word, kNames), "") << word;
  EXPECT_EQ(NearestWord("ab", {"a", "b"}), "") << "a candidate of which nothing is left is no guess";
  EXPECT_EQ(NearestWord(std::string(1 << 20, 'a'), {std::string(1 << 20, 'a')}), "");
  EXPECT_EQ(NearestWord("run", {}), "");
}

TEST(NearestWord, TakesTheNearestNotTheFirst) { EXPECT_EQ(NearestWord("tests", {"texts", "test", "tests2"}), "texts"); }

TEST(DidYouMean, EndsAnErrorOrAddsNothing) {
  EXPECT_EQ(DidYouMean("smaple", kNames), "; did you mean \"sample\"?");
  EXPECT_EQ(DidYouMean("colour", kNames), "");
}

}  // namespace
}  // namespace flowawr
