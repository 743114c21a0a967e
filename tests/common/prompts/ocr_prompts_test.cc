#include "common/prompts/ocr_prompts.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string ErrorOf(const OcrPromptOptions& options) { return std::string(OcrTasks(options).status().message()); }

TEST(OcrPromptsTest, AsksForRandomWordsOfTheEmbeddedModel) {
  const auto tasks = OcrTasks({});
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ(tasks->size(), 1u);
  EXPECT_EQ(tasks->front().size, 26u * 26 * 26);
  const auto sets = DrawPrompts(*tasks, {.count = 2000, .heldout = 400, .seed = 1});
  ASSERT_TRUE(sets.ok()) << sets.status();
  std::set<std::string> texts;
  for (const auto* set : {&sets->train, &sets->heldout}) {
    for (const DrawnPrompt& prompt : *set) {
      EXPECT_THAT(prompt.text, MatchesRegex("a sign that says \"[A-Z][A-Z][A-Z]\""));
      EXPECT_EQ(prompt.record["target"], prompt.text.substr(18, 3));
      texts.insert(prompt.text);
    }
  }
  EXPECT_EQ(texts.size(), 2400u);
}

TEST(OcrPromptsTest, DrawsAsManyOfEachLength) {
  const auto tasks = OcrTasks({.letters = "01", .least_length = 2, .most_length = 5});
  ASSERT_EQ(tasks->size(), 4u);
  EXPECT_EQ(tasks->at(0).size, 4u);
  EXPECT_EQ(tasks->at(3).size, 32u);
  const auto sets = DrawPrompts(*tasks, {.count = 16});
  for (const auto& [name, count] : sets->train_counts) EXPECT_EQ(count, 4u) << name;
}

TEST(OcrPromptsTest, PutsEveryTextOfAListIntoEveryTemplate) {
  const auto tasks = OcrTasks({.words = {"Open", "OPEN", "Grüße!", "Open"}, .templates = SceneTemplates()});
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  EXPECT_EQ(tasks->front().size, 3 * SceneTemplates().size());
  const auto sets = DrawPrompts(*tasks, {.count = 12, .heldout = 1, .seed = 1});
  ASSERT_TRUE(sets.ok()) << sets.status();
  // The reward does not tell "Open" from "OPEN": held out are both or none.
  for (const DrawnPrompt& prompt : sets->train) EXPECT_NE(prompt.keys, sets->heldout[0].keys);
}

TEST(OcrPromptsTest, RefusesWhatTheRewardCouldNotScore) {
  EXPECT_THAT(ErrorOf({.templates = {"a sign"}}), HasSubstr("template a sign: expected one line whose first double"));
  EXPECT_THAT(ErrorOf({.templates = {"a 3\" sign that says \"{}\""}}), HasSubstr("first double quotes"));
  EXPECT_THAT(ErrorOf({.words = {"a \"b\""}}), HasSubstr("double quote"));
  EXPECT_THAT(ErrorOf({.words = {" "}}), HasSubstr("it is empty"));
  EXPECT_THAT(ErrorOf({.words = {"\xff"}}), HasSubstr("UTF-8"));
  EXPECT_THAT(ErrorOf({.letters = "ABA"}), HasSubstr("different visible ASCII characters"));
  EXPECT_THAT(ErrorOf({.letters = ""}), HasSubstr("different visible ASCII characters"));
  EXPECT_THAT(ErrorOf({.least_length = 4}), HasSubstr("the least before the most"));
  EXPECT_TRUE(OcrTasks({.most_length = 12}).ok());
}

TEST(OcrPromptsTest, FindsTheKeyOfAFilesPrompt) {
  v1::Prompt prompt;
  prompt.set_text("a sign that says \"Open\", \"now\"");
  EXPECT_EQ(OcrKey(prompt), "open");
  (*prompt.mutable_metadata())["target"] = "OPEN NOW";
  EXPECT_EQ(OcrKey(prompt), "open now");
  prompt.clear_metadata();
  prompt.set_text("a sign that says \u201COpen\u201D and 6\" of snow");
  EXPECT_EQ(OcrKey(prompt), "open") << "curly quotes";
  prompt.set_text("a cat");
  EXPECT_EQ(OcrKey(prompt), "a cat");
}

}  // namespace
}  // namespace flowawr
