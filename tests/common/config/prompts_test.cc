#include "common/config/prompts.h"

#include <iostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class PromptSetTest : public ::testing::Test {
 protected:
  absl::StatusOr<PromptSet> Load(const std::string& name, const std::string& bytes) {
    return PromptSet::Load(folder_.Write(name, bytes));
  }
  void ExpectError(const std::string& name, const std::string& bytes, const std::string& message) {
    const absl::Status status = Load(name, bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes << "\n" << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  static std::vector<std::string> Texts(const PromptSet& prompts) {
    std::vector<std::string> texts;
    for (size_t i = 0; i < prompts.size(); ++i) texts.push_back(prompts[i].text());
    return texts;
  }
  const TempFolder folder_;
};

TEST_F(PromptSetTest, ReadsOnePromptALineAndLeavesOutBlanksAndComments) {
  const auto prompts =
      Load("p.txt", "\xEF\xBB\xBF# words\na sign that says \"CAT\"\r\n\n   \n  a dog  \n#\na dog\n#1 dad mug");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_THAT(Texts(*prompts), ElementsAre("a sign that says \"CAT\"", "a dog", "a dog", "#1 dad mug"));
  for (size_t i = 0; i < prompts->size(); ++i) EXPECT_EQ(prompts->At(i).index(), i);
  EXPECT_EQ(prompts->Where(0), folder_ / "p.txt:2");
  EXPECT_EQ(prompts->Where(3), folder_ / "p.txt:8");
}

TEST_F(PromptSetTest, ReadsJsonLinesWithMetadata) {
  const auto prompts = Load("p.jsonl", R"({"prompt": "two cats", "tag": "counting", "include": [{"count": 2}], "n": 3}

{"prompt": "# not a comment", "target": null, "other": null}
{"prompt": "a door", "target": 221}
)");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 3);
  EXPECT_EQ(prompts->At(0).text(), "two cats");
  EXPECT_THAT(prompts->At(0).metadata(),
              UnorderedElementsAre(Pair("tag", "counting"), Pair("n", "3"), Pair("include", R"([{"count":2}])")));
  EXPECT_EQ(prompts->At(1).text(), "# not a comment");
  EXPECT_TRUE(prompts->At(1).metadata().empty());
  EXPECT_THAT(prompts->At(2).metadata(), UnorderedElementsAre(Pair("target", "221")));
  EXPECT_EQ(prompts->Where(2), folder_ / "p.jsonl:4");
}

TEST_F(PromptSetTest, ReadsAnArrayOfObjectsOrStringsHoweverItIsLaidOut) {
  const auto prompts = Load(
      "p.json", "\xEF\xBB\xBF[\n  {\n    \"prompt\": \"two\\ncats\",\n    \"target\": \"CAT\"\n  },\n  \"a dog\"\n]\n");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  EXPECT_THAT(Texts(*prompts), ElementsAre("two\ncats", "a dog"));
  EXPECT_THAT(prompts->At(0).metadata(), UnorderedElementsAre(Pair("target", "CAT")));
  EXPECT_EQ(prompts->Where(1), folder_ / "p.json: prompt 2");
}

TEST_F(PromptSetTest, ReadsTables) {
  const auto csv = Load(
      "p.csv", "id,prompt,target\r\n1,\"a sign, that says \"\"CAT\"\"\",CAT\r\n\r\n2,\"two\nlines\",\r\n3,a dog,DOG");
  ASSERT_TRUE(csv.ok()) << csv.status();
  EXPECT_THAT(Texts(*csv), ElementsAre("a sign, that says \"CAT\"", "two\nlines", "a dog"));
  EXPECT_THAT(csv->At(0).metadata(), UnorderedElementsAre(Pair("id", "1"), Pair("target", "CAT")));
  EXPECT_THAT(csv->At(1).metadata(), UnorderedElementsAre(Pair("id", "2")));
  EXPECT_EQ(csv->Where(2), folder_ / "p.csv:6");
  const auto tsv = Load("p.tsv", "prompt\ttarget\na sign, that says \"CAT\"\tCAT\n");
  ASSERT_TRUE(tsv.ok()) << tsv.status();
  EXPECT_THAT(Texts(*tsv), ElementsAre("a sign, that says \"CAT\""));
}

TEST_F(PromptSetTest, NamesTheLineThatIsNoGood) {
  ExpectError("a.txt", "ok\n\ncaf\xE9\n", "a.txt:3: byte 4 is not UTF-8");
  ExpectError("b.jsonl", "{\"prompt\": \"ok\"}\nnonsense\n", "b.jsonl:2: not JSON: column ");
  ExpectError("c.jsonl", "{\"text\": \"ok\"}", "c.jsonl:1: the field \"prompt\" is missing");
  ExpectError("d.jsonl", "{\"prompt\": 7}", "d.jsonl:1: the field \"prompt\" must be a string");
  ExpectError("e.jsonl", "{\"prompt\": \"  \"}", "e.jsonl:1: the prompt is empty");
  ExpectError("g.txt", std::string(9000, 'x'), "g.txt:1: the prompt has 9000 bytes");
  ExpectError("h.txt", "# only words\n", "h.txt: holds no prompt");
  ExpectError("i.jsonl", "{\"prompt\": \"a\", \"n\": NaN}", "i.jsonl:1: NaN and Infinity are no JSON");
  ExpectError("j.jsonl", "{\"prompt\": \"a\", \"prompt\": \"b\"}", "j.jsonl:1: the field \"prompt\" is there twice");
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  ExpectError("j2.jsonl", "{\"prompt\": \"a\", \"x\": " + deep + "}", "j2.jsonl:1: arrays and objects within another");
  ExpectError("j3.json", deep, "j3.json: arrays and objects within another");
  for (const std::string value : {"true", "[\"CAT\"]", "{}"})
    ExpectError("k.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"a\", \"target\": " + value + "}",
                "k.jsonl:2: the field \"target\" must be a string, a number or null");
  ExpectError("l.json", "[{\"prompt\": \"a\"}, {\"prompt\": 1}]", "l.json: prompt 2: the field \"prompt\"");
  ExpectError("m.csv", "prompt,target\na, b, c\n", "m.csv:2: the row has 3 cells, the header 2");
  ExpectError("n.csv", "text,target\na,b\n", "n.csv:1: the first line must name the columns, one of them prompt");
  ExpectError("o.csv", "prompt\n\"a\n", "o.csv:2: a double quote is never closed");
  ExpectError("p.csv", "prompt\n\"CAT\" on a sign\n", "p.csv:2: after a cell in double quotes comes more text");
  ExpectError("q.csv", "prompt,prompt\na,b\n", "q.csv:1: two columns have the same name");
  ExpectError("o.csv", "Prompt,target\na,b\n", "o.csv:1: a column is called \"Prompt\"; call it \"prompt\"");
  ExpectError("s.csv", "prompt;target\na;b\n", "s.csv:1: the columns are separated by semicolons");
  ExpectError("r.csv", "prompt,target\ra,b\r", "r.csv: its lines end in a carriage return alone");
}

TEST_F(PromptSetTest, TellsEveryLineThatIsNoGoodToWhoWantsToKnow) {
  std::vector<PromptFault> faults;
  const auto load = [&](const std::string& name, const std::string& bytes) {
    faults.clear();
    return PromptSet::Load(folder_.Write(name, bytes), &faults);
  };
  const auto lines = load("a.jsonl", "nonsense\n{\"prompt\": \"a\"}\n{\"prompt\": 7}\n{\"prompt\": \"b\"}\n{}\n");
  ASSERT_TRUE(lines.ok()) << lines.status();
  EXPECT_THAT(Texts(*lines), ElementsAre("a", "b"));
  EXPECT_EQ(lines->Where(1), folder_ / "a.jsonl:4");
  ASSERT_EQ(faults.size(), 3u);
  EXPECT_EQ(faults[1].where, folder_ / "a.jsonl:3");
  EXPECT_EQ(faults[1].message, "the field \"prompt\" must be a string");
  EXPECT_EQ(faults[2].where, folder_ / "a.jsonl:5");

  const auto array = load("b.json", "[{\"prompt\": 1}, \"a\", 7]");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(Texts(*array), ElementsAre("a"));
  EXPECT_EQ(array->Where(0), folder_ / "b.json: prompt 2");
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[1].where, folder_ / "b.json: prompt 3");

  const auto table = load("c.csv", "prompt,target\na,b,c\na dog,DOG\n,CAT\n\"never closed\na cat,CAT\n");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(Texts(*table), ElementsAre("a dog"));
  ASSERT_EQ(faults.size(), 3u);
  EXPECT_EQ(faults[2].where, folder_ / "c.csv:5");

  const auto none = load("d.jsonl", "{}\n");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_TRUE(none->empty());
  EXPECT_FALSE(load("e.json", "{").ok());
  EXPECT_FALSE(load("f.csv", "text\na\n").ok());
  EXPECT_FALSE(load("g.txt", "# nothing\n").ok());
}

// What public trainers ship for GenEval: 50,000 lines, every tag, objects within objects.
TEST_F(PromptSetTest, ReadsALargeTrainingSetFastAndInLittleMoreThanItsSize) {
  const std::vector<std::string> lines = {
      R"({"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"})",
      R"({"tag": "two_object", "include": [{"class": "tv", "count": 1}, {"class": "cow", "count": 1}], "prompt": "x"})",
      R"({"tag": "counting", "include": [{"class": "tie", "count": 2}], "exclude": [{"class": "tie", "count": 3}], )"
      R"("prompt": "a photo of two ties"})",
      R"({"tag": "colors", "include": [{"class": "cup", "count": 1, "color": "red"}], "prompt": "a red cup"})",
      R"({"tag": "position", "include": [{"class": "bed", "count": 1}, {"class": "cat", "count": 1, "position": )"
      R"(["left of", 0]}], "prompt": "a photo of a cat left of a bed"})",
      R"({"tag": "color_attr", "include": [{"class": "bed", "count": 1, "color": "red"}, {"class": "cat", "count": 1, )"
      R"("color": "blue"}], "prompt": "a photo of a red bed and a blue cat"})"};
  constexpr size_t kLines = 50'000;
  std::string bytes;
  for (size_t i = 0; i < kLines; ++i) bytes += lines[i % lines.size()] + "\n";
  const std::string path = folder_.Write("train.jsonl", bytes);
  const absl::Time begin = MonotonicNow();
  const auto prompts = PromptSet::Load(path);
  const absl::Duration took = MonotonicNow() - begin;
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), kLines);
  std::cout << kLines << " lines in " << took << "\n";
  EXPECT_LT(took, absl::Seconds(10));  // a second and less where nothing else runs
  EXPECT_EQ(prompts->At(49'996).metadata().at("include"),
            R"([{"class":"bed","count":1},{"class":"cat","count":1,"position":["left of",0]}])");
  EXPECT_EQ(prompts->At(2).metadata().at("exclude"), R"([{"class":"tie","count":3}])");
}

TEST_F(PromptSetTest, SaysWhatAFileIsThatItsNameDoesNot) {
  ExpectError("a.txt", "{\"prompt\": \"ok\"}", "a.txt:1: this is JSON; name a file with one object a line *.jsonl");
  ExpectError("b.txt", "[\n  {\"prompt\": \"ok\"}\n]", "b.txt:1: this is JSON");
  ExpectError("c.txt", "prompt,target\na,b\n", "c.txt:1: this is the header of a table; name the file *.csv");
  ExpectError("r.txt", "a sign\ra cat\r", "r.txt: its lines end in a carriage return alone");
  ExpectError("o.jsonl", "{\"Prompt\": \"a\"}\n", "o.jsonl:1: the field is called \"Prompt\"; call it \"prompt\"");
  ExpectError("u.txt", std::string("a\0 \0c\0", 6), "u.txt:1: byte 2 is NUL: this is no plain text");
  ExpectError("d.txt", "prompt\ttarget\na\tb\n", "name the file *.tsv");
  ExpectError("e.jsonl", "[\n{\"prompt\": \"a\"},\n{\"prompt\": \"b\"}\n]\n", "e.jsonl:1: the file holds an array");
  ExpectError("f.jsonl", "{\"prompt\": \"a\"},\n{\"prompt\": \"b\"}\n", "f.jsonl:1: the line ends with a comma");
  ExpectError("g.jsonl", "{\n\"prompt\": \"a\"\n}\n", "g.jsonl:1: an object must stand on one line");
  ExpectError("h.json", "{\"prompt\": \"a\"}", "h.json: expected one array");
}

TEST_F(PromptSetTest, SaysThatThereIsNoSuchFile) {
  const absl::Status status = PromptSet::Load(folder_ / "none.txt").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("none.txt"));
}

TEST_F(PromptSetTest, LeavesOutPromptsAndKeepsTheIndicesOfTheOthers) {
  const PromptSet prompts = Load("p.txt", "a\nb\n\nc\nd\n").value().Without({1, 3});
  EXPECT_THAT(Texts(prompts), ElementsAre("a", "c"));
  EXPECT_EQ(prompts[1].index(), 2);
  EXPECT_EQ(prompts.Where(1), folder_ / "p.txt:4");
}

TEST_F(PromptSetTest, TellsWhichPromptsChanged) {
  const v1::PromptSetRecord then = Load("p.txt", "a\nb\nc\n").value().Record();
  EXPECT_EQ(DescribeChange(then, Load("q.txt", "# the same\r\na\n\nb\r\nc").value()), "");
  const std::string edited = DescribeChange(then, Load("p.txt", "a\nB\nc\n").value());
  EXPECT_THAT(edited, HasSubstr("of its 3 prompts some are not what they were"));
  EXPECT_THAT(edited, HasSubstr("p.txt:2: B"));
  EXPECT_THAT(edited, Not(HasSubstr("p.txt:1")));
  EXPECT_THAT(edited, Not(HasSubstr("p.txt:3")));
  EXPECT_THAT(DescribeChange(then, Load("p.txt", "a\nb\nc\nd\n").value()), HasSubstr("it had 3 prompts and has 4"));
  EXPECT_NE(DescribeChange(then, Load("p.txt", "a\nc\nb\n").value()), "");
}

TEST_F(PromptSetTest, TheRecordOfALargeSetIsSmallAndTellsTheStretch) {
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "prompt " + std::to_string(i) + "\n";
  const v1::PromptSetRecord then = Load("p.txt", text).value().Record();
  EXPECT_LE(then.ByteSizeLong(), 20'000);
  text.replace(text.find("prompt 5000"), 6, "PROMPT");
  EXPECT_THAT(DescribeChange(then, Load("p.txt", text).value()), HasSubstr("p.txt:5001 to "));
}

}  // namespace
}  // namespace flowawr
