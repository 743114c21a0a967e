#include "common/prompts/geneval_prompts.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/config/prompts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string Lines(const std::vector<DrawnPrompt>& prompts) {
  std::string lines;
  for (const DrawnPrompt& prompt : prompts) absl::StrAppend(&lines, prompt.record.dump(), "\n");
  return lines;
}

// Every prompt of a task.
std::vector<DrawnPrompt> All(const PromptTask& task) {
  std::vector<DrawnPrompt> prompts;
  for (uint64_t i = 0; i < task.size; ++i) prompts.push_back(task.make(i));
  return prompts;
}

TEST(GenevalPromptsTest, HasThePublishedProportions) {
  const auto sets = DrawPrompts(GenevalTasks(), {.count = 553, .seed = 43});
  ASSERT_TRUE(sets.ok()) << sets.status();
  EXPECT_THAT(sets->train_counts, ElementsAre(Pair("single_object", 80), Pair("two_object", 99), Pair("counting", 80),
                                              Pair("colors", 94), Pair("position", 100), Pair("color_attr", 100)));
}

TEST(GenevalPromptsTest, SaysInWordsWhatItsClausesSay) {
  const TempFolder folder;
  const auto geneval = DrawPrompts(GenevalTasks(), {.count = 20000, .heldout = 500, .seed = 2});
  ASSERT_TRUE(geneval.ok()) << geneval.status();
  EXPECT_TRUE(RunPython("tests/common/prompts/check_geneval.py",
                        {folder.Write("train.jsonl", Lines(geneval->train)), "geneval"}));
  EXPECT_TRUE(RunPython("tests/common/prompts/check_geneval.py",
                        {folder.Write("heldout.jsonl", Lines(geneval->heldout)), "geneval"}));
  // Shapes: every one that there is.
  std::string lines;
  std::vector<uint64_t> sizes;
  for (const PromptTask& task : ShapesTasks()) {
    absl::StrAppend(&lines, Lines(All(task)));
    sizes.push_back(task.size);
  }
  EXPECT_THAT(sizes, ElementsAre(24, 72, 432, 1728));
  EXPECT_TRUE(RunPython("tests/common/prompts/check_geneval.py", {folder.Write("shapes.jsonl", lines), "shapes"}));
}

TEST(GenevalPromptsTest, HasNoPromptTwiceAndEveryClass) {
  for (const auto& tasks : {GenevalTasks(), ShapesTasks()}) {
    for (const PromptTask& task : tasks) {
      if (task.size > 100'000) continue;
      std::set<std::string> texts;
      for (const DrawnPrompt& prompt : All(task)) texts.insert(prompt.text);
      EXPECT_EQ(texts.size(), task.size) << task.name;
    }
  }
  EXPECT_EQ(std::set<std::string>(GenevalClasses().begin(), GenevalClasses().end()).size(), 80u);
  EXPECT_EQ(std::set<std::string>(GenevalColors().begin(), GenevalColors().end()).size(), 10u);
}

TEST(GenevalPromptsTest, KeepsHeldOutCombinationsApartInEitherOrder) {
  const auto sets = DrawPrompts(ShapesTasks(), {.count = 1000, .heldout = 200, .seed = 3});
  ASSERT_TRUE(sets.ok()) << sets.status();
  // As sets of clauses, positions by what they mean: "A left of B" is "B right of A".
  const auto meaning = [](const DrawnPrompt& prompt) {
    const nlohmann::ordered_json& include = prompt.record["include"];
    std::vector<std::string> objects;
    for (nlohmann::ordered_json clause : include) {
      clause.erase("position");
      objects.push_back(clause.dump());
    }
    if (prompt.record["tag"] != "position") {
      std::sort(objects.begin(), objects.end());
      return absl::StrCat(objects.front(), objects.back(), prompt.record["tag"].dump());
    }
    const std::string relation = include[1]["position"][0];
    if (relation == "left of" || relation == "above") return absl::StrCat(objects[1], relation, objects[0]);
    return absl::StrCat(objects[0], relation == "right of" ? "left of" : "above", objects[1]);
  };
  std::set<std::string> heldout;
  for (const DrawnPrompt& prompt : sets->heldout) EXPECT_TRUE(heldout.insert(meaning(prompt)).second) << prompt.text;
  for (const DrawnPrompt& prompt : sets->train) EXPECT_EQ(heldout.count(meaning(prompt)), 0u) << prompt.text;
}

TEST(GenevalPromptsTest, ReachesTheScorerAsMetadata) {
  const TempFolder folder;
  const auto sets = DrawPrompts(GenevalTasks(), {.count = 300, .seed = 1});
  const auto prompts = PromptSet::Load(folder.Write("prompts.jsonl", Lines(sets->train)));
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 300u);
  for (size_t i = 0; i < prompts->size(); ++i) {
    const v1::Prompt prompt = prompts->At(i);
    const nlohmann::ordered_json& record = sets->train[i].record;
    EXPECT_EQ(prompt.text(), record["prompt"]);
    EXPECT_EQ(prompt.metadata().at("tag"), record["tag"]);
    EXPECT_EQ(nlohmann::json::parse(prompt.metadata().at("include")), nlohmann::json::parse(record["include"].dump()));
    EXPECT_EQ(prompt.metadata().contains("exclude"), record["tag"] == "counting");
  }
}

TEST(GenevalPromptsTest, GivesTheBytesItAlwaysGave) {
  EXPECT_EQ(HexSha256(Lines(DrawPrompts(GenevalTasks(), {.count = 553, .heldout = 100, .seed = 1})->train)),
            "1d7c869d31efc45fa81362edae47a4f06ec18cab197d246177c150dc3b460670");
  EXPECT_EQ(HexSha256(Lines(DrawPrompts(ShapesTasks(), {.count = 500, .heldout = 100, .seed = 1})->train)),
            "28b4bcd71e55840f6db47297c331af1bda2a298271f63f0fbf75365616340314");
}

}  // namespace
}  // namespace flowawr
