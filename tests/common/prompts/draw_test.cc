#include "common/prompts/draw.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// `size` prompts, of which two neighbours say the same.
PromptTask Task(const std::string& name, uint64_t weight, uint64_t size) {
  return {name, weight, size, [name](uint64_t index) {
            return DrawnPrompt{absl::StrCat(name, index), {}, {absl::StrCat(name, index / 2)}};
          }};
}

std::string Texts(const std::vector<DrawnPrompt>& prompts) {
  std::string texts;
  for (const DrawnPrompt& prompt : prompts) absl::StrAppend(&texts, prompt.text, " ");
  return texts;
}

TEST(ApportionTest, RoundsTheLargestRemaindersUp) {
  EXPECT_THAT(Apportion(10, {1, 1, 1}), ElementsAre(4, 3, 3));
  EXPECT_THAT(Apportion(553, {80, 99, 80, 94, 100, 100}), ElementsAre(80, 99, 80, 94, 100, 100));
  EXPECT_THAT(Apportion(7, {5, 0, 3}), ElementsAre(4, 0, 3));
  EXPECT_THAT(Apportion(0, {1, 2}), ElementsAre(0, 0));
}

TEST(DrawPromptsTest, DrawsEachPromptOnceByTheTasksWeights) {
  const auto sets = DrawPrompts({Task("a", 1, 1000), Task("b", 3, 1000)}, {.count = 400, .seed = 5});
  ASSERT_TRUE(sets.ok()) << sets.status();
  std::set<std::string> texts;
  for (const DrawnPrompt& prompt : sets->train) texts.insert(prompt.text);
  EXPECT_EQ(texts.size(), 400u);
  EXPECT_THAT(sets->train_counts, ElementsAre(Pair("a", 100), Pair("b", 300)));
  EXPECT_TRUE(sets->heldout.empty());
  int early = 0;  // any beginning of the set is a fair sample of it
  for (int i = 0; i < 100; ++i) early += sets->train[i].text[0] == 'a';
  EXPECT_NEAR(early, 25, 20);
}

TEST(DrawPromptsTest, KeepsWhatIsHeldOutApart) {
  const auto sets = DrawPrompts({Task("a", 1, 100)}, {.count = 60, .heldout = 20});
  ASSERT_TRUE(sets.ok()) << sets.status();
  std::set<std::string> heldout;
  for (const DrawnPrompt& prompt : sets->heldout) EXPECT_TRUE(heldout.insert(prompt.keys[0]).second);
  for (const DrawnPrompt& prompt : sets->train) EXPECT_EQ(heldout.count(prompt.keys[0]), 0u) << prompt.text;
  EXPECT_EQ(sets->heldout.size(), 20u);
  EXPECT_EQ(sets->train.size(), 60u);
}

TEST(DrawPromptsTest, LeavesOutWhatIsTaken) {
  const auto sets = DrawPrompts({Task("a", 1, 6)}, {.count = 4, .taken = {"a1"}});
  ASSERT_TRUE(sets.ok()) << sets.status();
  EXPECT_THAT(Texts(sets->train), ::testing::Not(HasSubstr("a2")));
  EXPECT_THAT(Texts(sets->train), ::testing::Not(HasSubstr("a3")));
}

TEST(DrawPromptsTest, SharesWhatASmallTaskLacksAmongTheOthers) {
  const auto sets = DrawPrompts({Task("a", 1, 10), Task("b", 1, 1000), Task("c", 2, 1000)}, {.count = 400});
  ASSERT_TRUE(sets.ok()) << sets.status();
  EXPECT_THAT(sets->train_counts, ElementsAre(Pair("a", 10), Pair("b", 130), Pair("c", 260)));
}

TEST(DrawPromptsTest, HoldsOutNoMoreThanHalfOfATask) {
  const auto sets = DrawPrompts({Task("a", 1, 10), Task("b", 1, 1000)}, {.count = 100, .heldout = 40});
  ASSERT_TRUE(sets.ok()) << sets.status();
  EXPECT_THAT(sets->heldout_counts, ElementsAre(Pair("a", 5), Pair("b", 35)));
}

TEST(DrawPromptsTest, SaysHowManyThereAre) {
  const auto too_many = DrawPrompts({Task("a", 1, 10), Task("b", 1, 5)}, {.count = 16});
  EXPECT_EQ(too_many.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_many.status().message()), HasSubstr("only 15 such prompts, not 16"));
  const auto too_many_heldout = DrawPrompts({Task("a", 1, 10)}, {.count = 1, .heldout = 6});
  EXPECT_THAT(std::string(too_many_heldout.status().message()), HasSubstr("only 5 prompts, and 6 are to be held out"));
}

TEST(DrawPromptsTest, GivesTheSameSetsForASeedAndOthersForAnother) {
  const std::vector<PromptTask> tasks = {Task("a", 1, uint64_t{1} << 40), Task("b", 1, 50)};
  const auto first = DrawPrompts(tasks, {.count = 30, .heldout = 3, .seed = 7});
  const auto again = DrawPrompts(tasks, {.count = 30, .heldout = 3, .seed = 7});
  const auto other = DrawPrompts(tasks, {.count = 30, .heldout = 3, .seed = 8});
  EXPECT_EQ(Texts(first->train), Texts(again->train));
  EXPECT_EQ(Texts(first->heldout), Texts(again->heldout));
  EXPECT_NE(Texts(first->train), Texts(other->train));
  // On every machine, for ever.
  EXPECT_EQ(Texts(DrawPrompts({Task("a", 1, 1000)}, {.count = 5, .seed = 1})->train),
            "a519 a198 a753 a364 a920 ");
}

}  // namespace
}  // namespace flowawr
