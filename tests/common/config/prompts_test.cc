#include "common/config/prompts.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class LoadPromptsTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<v1::Prompt>> Load(const std::string& name, const std::string& bytes) {
    return LoadPrompts(folder_.Write(name, bytes));
  }
  void ExpectError(const std::string& name, const std::string& bytes, const std::string& message) {
    const absl::Status status = Load(name, bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  const TempFolder folder_;
};

TEST_F(LoadPromptsTest, ReadsOnePromptALineAndLeavesOutBlanksAndComments) {
  const auto prompts = Load("p.txt", "\xEF\xBB\xBF# words\na sign that says \"CAT\"\r\n\n   \n  a dog  \na dog");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 3);
  EXPECT_EQ(prompts->at(0).text(), "a sign that says \"CAT\"");
  EXPECT_EQ(prompts->at(1).text(), "a dog");
  EXPECT_EQ(prompts->at(2).text(), "a dog");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(prompts->at(i).index(), i);
}

TEST_F(LoadPromptsTest, ReadsJsonLinesWithMetadata) {
  const auto prompts = Load("p.jsonl", R"({"prompt": "two cats", "tag": "counting", "include": [{"count": 2}], "n": 3}

{"prompt": "# not a comment"}
)");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2);
  EXPECT_EQ(prompts->at(0).text(), "two cats");
  EXPECT_THAT(prompts->at(0).metadata(),
              UnorderedElementsAre(Pair("tag", "counting"), Pair("n", "3"), Pair("include", R"([{"count":2}])")));
  EXPECT_EQ(prompts->at(1).text(), "# not a comment");
}

TEST_F(LoadPromptsTest, NamesTheLineThatIsNoGood) {
  ExpectError("a.txt", "ok\n\ncaf\xE9\n", "a.txt:3: byte 4 is not UTF-8");
  ExpectError("b.jsonl", "{\"prompt\": \"ok\"}\nnonsense\n", "b.jsonl:2: expected one JSON object");
  ExpectError("c.jsonl", "{\"text\": \"ok\"}", "c.jsonl:1: the field \"prompt\" is missing");
  ExpectError("d.jsonl", "{\"prompt\": 7}", "d.jsonl:1: the field \"prompt\" must be a string");
  ExpectError("e.jsonl", "{\"prompt\": \"  \"}", "e.jsonl:1: the prompt is empty");
  ExpectError("f.txt", "{\"prompt\": \"ok\"}", "f.txt:1: this is a JSON line; name a file of JSON lines *.jsonl");
  ExpectError("g.txt", std::string(9000, 'x'), "g.txt:1: the prompt has 9000 bytes");
  ExpectError("h.txt", "# only words\n", "h.txt: holds no prompt");
}

TEST_F(LoadPromptsTest, SaysThatThereIsNoSuchFile) {
  const absl::Status status = LoadPrompts(folder_ / "none.txt").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("none.txt"));
}

}  // namespace
}  // namespace flowawr
