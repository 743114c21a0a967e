#include "reward_server/scorers/geneval_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/config/prompts.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;
using Metadata = std::map<std::string, std::string>;

const GenevalClasses& Classes() {
  static const auto* const classes = new GenevalClasses({"cow", "laptop", "mouse", "toothbrush"});
  return *classes;
}

std::string FaultOf(const Metadata& metadata) {
  return std::string(ParseGenevalTask(metadata, Classes()).status().message());
}
std::string FaultOfInclude(const std::string& include) { return FaultOf({{"tag", "colors"}, {"include", include}}); }

TEST(GenevalTaskTest, ReadsTheBenchmarksLines) {
  const auto task = ParseGenevalTask(
      {{"tag", "position"},
       {"include", R"([{"class": "laptop", "count": 1},
                       {"class": "cow", "count": 2, "color": "red", "position": ["right of", 0]}])"},
       {"exclude", R"([{"class": "cow", "count": 3}])"},
       {"source", "other fields are nobody's business"}},
      Classes());
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->tag, "position");
  ASSERT_EQ(task->include.size(), 2);
  EXPECT_EQ(task->include[0].label, 1);
  EXPECT_FALSE(task->include[0].position.has_value());
  EXPECT_EQ(task->include[0].colour, "");
  EXPECT_EQ(task->include[1].name, "cow");
  EXPECT_EQ(task->include[1].count, 2);
  EXPECT_EQ(task->include[1].colour, "red");
  EXPECT_EQ(task->include[1].position->relation, GenevalRelation::kRightOf);
  EXPECT_EQ(task->include[1].position->target, 0);
  ASSERT_EQ(task->exclude.size(), 1);
  EXPECT_EQ(task->exclude[0].count, 3);
}

TEST(GenevalTaskTest, KnowsEveryTagColourAndRelation) {
  for (const char* tag : {"single_object", "two_object", "counting", "colors", "position", "color_attr"})
    EXPECT_EQ(FaultOf({{"tag", tag}, {"include", R"([{"class": "cow", "count": 1}])"}}), "");
  for (const char* colour : kGenevalColours)
    EXPECT_EQ(FaultOfInclude(absl::StrCat(R"([{"class": "cow", "count": 1, "color": ")", colour, R"("}])")), "");
  for (const char* relation : {"left of", "right of", "above", "below"})
    EXPECT_EQ(FaultOfInclude(absl::StrCat(R"([{"class": "cow", "count": 1},
                                              {"class": "laptop", "count": 1, "position": [")", relation, R"(", 0]}])")),
              "");
}

TEST(GenevalTaskTest, KnowsCocosClassesByGenevalsNames) {
  EXPECT_EQ(*Classes().LabelOf("computer mouse"), 2);
  EXPECT_EQ(*Classes().LabelOf("mouse"), 2);
  EXPECT_FALSE(Classes().LabelOf("tv remote").ok());  // this detector has no remote
  EXPECT_EQ(*GenevalClasses({"tv remote"}).LabelOf("remote"), 0);
}

TEST(GenevalTaskTest, NamesWhatIsWrongAndTheNearestWord) {
  const struct {
    const char* include;
    const char* fault;
  } kCases[] = {
      {R"([{"class": "cat", "count": 1}])", R"(include[0]: the detector knows no class "cat")"},
      {R"([{"class": "tooth brush", "count": 1}])", R"(did you mean "toothbrush"?)"},
      {R"([{"class": "cow", "count": 1, "color": "blu"}])", R"(did you mean "blue"?)"},
      {R"([{"class": "cow", "count": 1, "colour": "blue"}])", R"(unknown field "colour"; there are class, count, color)"},
      {R"([{"class": "cow"}])", "include[0]: no count"},
      {R"([{"count": 1}])", "include[0]: no class"},
      {R"([{"class": "cow", "count": 0}])", "count must be a whole number from 1 to 16; it is 0"},
      {R"([{"class": "cow", "count": 17}])", "from 1 to 16; it is 17"},
      {R"([{"class": "cow", "count": 18446744073709551615}])", "from 1 to 16"},
      {R"([{"class": "cow", "count": 1.5}])", "from 1 to 16"},
      {R"([{"class": "cow", "count": 1, "position": ["left of", 0]}])", "must be one before this clause, 0"},
      {R"([{"class": "cow", "count": 1}, {"class": "laptop", "count": 1, "position": ["left of", -1]}])", "one before"},
      {R"([{"class": "cow", "count": 1}, {"class": "laptop", "count": 1, "position": ["leftof", 0]}])",
       R"(did you mean "left of"?)"},
      {R"([{"class": "cow", "count": 1}, {"class": "laptop", "count": 1, "position": "left of"}])",
       "position must be [relation, number of an earlier clause]"},
      {R"([])", "no clauses"},
      {R"({"class": "cow", "count": 1})", "expected a list"},
      {R"([1])", "expected an object; it is 1"},
      {R"([{"class": "cow")", "include"},
      {"", "include"},
  };
  for (const auto& test : kCases) EXPECT_THAT(FaultOfInclude(test.include), HasSubstr(test.fault)) << test.include;
  EXPECT_THAT(FaultOf({{"include", "[]"}}), HasSubstr("no tag"));
  EXPECT_THAT(FaultOf({{"tag", "colors"}}), HasSubstr("no include"));
  EXPECT_THAT(FaultOf({{"tag", "colours"}, {"include", "[]"}}), HasSubstr(R"(did you mean "colors"?)"));
  EXPECT_THAT(FaultOf({{"tag", "counting"},
                       {"include", R"([{"class": "cow", "count": 1}])"},
                       {"exclude", R"([{"class": "cow", "count": 2, "color": "red"}])"}}),
              HasSubstr("exclude[0]: unknown field \"color\""));
}

// A file as trainings use it: every tag, nested objects, tens of thousands of lines.
TEST(GenevalTaskTest, ReadsWhatThePromptFileReaderMakesOfFiftyThousandLines) {
  const std::vector<std::string> lines = {
      R"({"tag": "single_object", "include": [{"class": "cow", "count": 1}], "prompt": "a photo of a cow"})",
      R"({"tag": "two_object", "include": [{"class": "cow", "count": 1}, {"class": "laptop", "count": 1}], "prompt": "p"})",
      R"({"tag": "counting", "include": [{"class": "cow", "count": 3}], "exclude": [{"class": "cow", "count": 4}], "prompt": "p"})",
      R"({"tag": "colors", "include": [{"class": "cow", "count": 1, "color": "purple"}], "prompt": "p"})",
      R"({"tag": "position", "include": [{"class": "cow", "count": 1}, {"class": "laptop", "count": 1, "position": ["below", 0]}], "prompt": "p"})",
      R"({"tag": "color_attr", "include": [{"class": "cow", "count": 1, "color": "black"}, {"class": "computer mouse", "count": 1, "color": "white"}], "prompt": "p"})"};
  std::string text;
  for (int i = 0; i < 50'000; ++i) absl::StrAppend(&text, lines[static_cast<size_t>(i) % lines.size()], "\n");
  const TempFolder folder;
  const auto prompts = PromptSet::Load(folder.Write("train_metadata.jsonl", text));
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 50'000);
  for (size_t i = 0; i < prompts->size(); ++i) {
    const auto prompt = prompts->At(i);
    const auto task = ParseGenevalTask({prompt.metadata().begin(), prompt.metadata().end()}, Classes());
    ASSERT_TRUE(task.ok()) << i << ": " << task.status();
  }
}

}  // namespace
}  // namespace flowawr
