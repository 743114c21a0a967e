#include "cli/report.h"

#include <gmock/gmock.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "tests/cli/run_directory_fixture.h"

namespace flowawr {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ReportTest : public RunDirectoryFixture {
 protected:
  ReportTest() {
    Write("config.yaml", "name: tiny\n");
    Write("metrics.jsonl",
          EvaluationLine(0, 0.52, 0.125) + UpdateLine(1, 0.55) + UpdateLine(2, 0.6) + EvaluationLine(2, 0.95, 0.875));
    WritePicture("base", "000", "a sign that says \"CAT\"", 0.67, "cot", "false");
    WritePicture("final", "000", "a sign that says \"CAT\"", 1, "cat", "true");
  }

  std::string Page() const {
    const absl::Status status = WriteReport(run_dir_);
    EXPECT_TRUE(status.ok()) << status;
    return Read("report.html");
  }
};

TEST_F(ReportTest, SummarisesTheRunForPrograms) {
  Write("export/peft/adapter_model.safetensors", "abc");
  Page();
  const json summary = json::parse(Read("summary.json"));
  EXPECT_EQ(summary["heldout"]["base"]["reward_mean"], 0.52);
  EXPECT_EQ(summary["heldout"]["base"]["exact_share"], 0.125);
  EXPECT_EQ(summary["heldout"]["final"]["reward_mean"], 0.95);
  EXPECT_EQ(summary["heldout"]["final"]["exact_share"], 0.875);
  EXPECT_EQ(summary["updates"], 2);
  EXPECT_EQ(summary["images_trained"], 256);
  EXPECT_EQ(summary["seconds_by_stage"]["learner"]["train"], 6);
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(summary["adapter_sha256"]["peft"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(summary["adapter_sha256"]["diffusers"].is_null());
}

TEST_F(ReportTest, SaysWhyARunEndedEarlyUntilItIsTrainedOn) {
  EXPECT_THAT(Page(), Not(HasSubstr("ended before its last update")));
  EXPECT_TRUE(json::parse(Read("summary.json"))["end_reason"].is_null());
  const std::string end =
      json{{"kind", "end"}, {"update", 2}, {"reason", "a < b"}, {"warnings", {"b fell"}}}.dump() + "\n";
  Write("metrics.jsonl", Read("metrics.jsonl") + end);
  EXPECT_THAT(Page(), AllOf(HasSubstr("ended before its last update: a &lt; b."), HasSubstr("b fell")));
  EXPECT_EQ(json::parse(Read("summary.json"))["end_reason"], "a < b");
  EXPECT_EQ(json::parse(Read("summary.json"))["end_warnings"], json({"b fell"}));
  Write("metrics.jsonl", Read("metrics.jsonl") + UpdateLine(3, 0.6));
  EXPECT_THAT(Page(), Not(HasSubstr("ended before its last update")));
}

TEST_F(ReportTest, ShowsHowPicturesOfAPromptChanged) {
  EXPECT_THAT(Page(), Not(HasSubstr("Over the updates")));
  for (int update = 1; update <= 20; ++update)
    WritePicture(absl::StrFormat("update-%06d", update), "000", "a sign that says \"CAT\"", 0.5, "cat", "true");
  const std::string page = Page();
  const size_t begin = page.find("Over the updates");
  ASSERT_NE(begin, page.npos);
  const std::string strip = page.substr(begin, page.find("<h2>Reward</h2>") - begin);
  EXPECT_THAT(strip, HasSubstr(">before · 0.67<"));
  EXPECT_THAT(strip, HasSubstr(">update 1 · 0.50<"));
  EXPECT_THAT(strip, HasSubstr(">update 20 · 0.50<"));
  size_t pictures = 0;
  for (size_t at = 0; (at = strip.find("<img", at)) != std::string::npos; ++at) ++pictures;
  EXPECT_EQ(pictures, 1 + kMostPicturedUpdates);  // and the base
}

TEST(SpreadUpdates, KeepsTheFirstAndTheLast) {
  EXPECT_THAT(SpreadUpdates({1, 2, 3, 4, 5, 6, 7, 8, 9}, 3), testing::ElementsAre(1, 5, 9));
  EXPECT_THAT(SpreadUpdates({1, 2}, 3), testing::ElementsAre(1, 2));
}

TEST_F(ReportTest, LeavesTheFinalFiguresOpenWhileTheRunGoesOn) {
  Write("metrics.jsonl", EvaluationLine(0, 0.52, 0.125) + UpdateLine(1, 0.55));
  EXPECT_THAT(Page(), HasSubstr("not been evaluated after its training yet"));
  EXPECT_TRUE(json::parse(Read("summary.json"))["heldout"]["final"].is_null());
}

TEST_F(ReportTest, ShowsHowShadowsJudgedInTheLastUpdate) {
  EXPECT_THAT(Page(), Not(HasSubstr("Shadow rewards")));
  json first = json::parse(UpdateLine(1, 0.5)), last = json::parse(UpdateLine(2, 0.6));
  first["shadows"]["gone"] = {{"groups", 3}, {"rank_correlation", 0.5}, {"best_differs", 0.5}};
  last["shadows"]["<pick>"] = {{"groups", 1234}, {"rank_correlation", 0.8125}, {"best_differs", 0.25}};
  last["shadows"]["mute"] = {{"groups", 0}};
  Write("metrics.jsonl", first.dump() + "\n" + last.dump() + "\n");
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("<td>&lt;pick&gt;</td><td>0.812</td><td>25.0 %</td><td>1\u202f234</td>"));
  EXPECT_THAT(page, HasSubstr("<td>mute</td><td>–</td><td>–</td><td>0</td>"));
  EXPECT_THAT(page, Not(HasSubstr("gone")));
  const json summary = json::parse(Read("summary.json"));
  EXPECT_EQ(summary["shadows"]["<pick>"]["best_differs"], 0.25);
  EXPECT_TRUE(summary["shadows"]["mute"]["rank_correlation"].is_null());
}

TEST_F(ReportTest, ShowsBothPicturesWithWhatWasRead) {
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr("data:image/png;base64," + absl::Base64Escape(Read("images/base/000.png"))));
  EXPECT_THAT(page, HasSubstr(R"(mismatch">✗ cot</span>)"));
  EXPECT_THAT(page, HasSubstr(R"( match">✓ cat</span>)"));
  EXPECT_THAT(page, HasSubstr("0.520 →</small> 0.950"));
  EXPECT_THAT(page, HasSubstr("12.5 % →</small> 87.5 %"));
}

TEST_F(ReportTest, MarksPicturesByWhatTheirScorerSaysAlone) {
  // A target that is not in the prompt: exact, though nothing is quoted; and the quoted word read though it was not
  // asked.
  WritePicture("base", "000", "a red sign", 1, "CAT", "true");
  WritePicture("final", "000", "a \"CAT\"", 0, "cat", "false");
  WritePicture("base", "001", "a \"CAT\"", 1, "cat");  // of a reward that is no rule
  const std::string page = Page();
  EXPECT_THAT(page, HasSubstr(R"( match">✓ CAT</span>)"));
  EXPECT_THAT(page, HasSubstr(R"(mismatch">✗ cat</span>)"));
  EXPECT_THAT(page, HasSubstr(R"(mono ">cat</span>)"));
}

TEST_F(ReportTest, TellsNoExactShareOfRewardsThatHaveNone) {
  json base = json::parse(EvaluationLine(0, 1, 0)), last = json::parse(EvaluationLine(2, 1, 0));
  base.erase("exact_share"), last.erase("exact_share");
  Write("metrics.jsonl", base.dump() + "\n" + last.dump() + "\n");
  const std::string page = Page();
  EXPECT_THAT(page, Not(HasSubstr("exactly right")));
  EXPECT_THAT(page, Not(HasSubstr("<th>Exact</th>")));
  EXPECT_TRUE(json::parse(Read("summary.json"))["heldout"]["final"]["exact_share"].is_null());
}

TEST_F(ReportTest, SaysMissingWhereNoRewardWasMeasured) {
  json last = json::parse(EvaluationLine(2, 0, 0));
  last["reward_mean"] = nullptr, last["reward_stderr"] = nullptr;
  Write("metrics.jsonl", EvaluationLine(0, 0.52, 0.125) + last.dump() + "\n");
  EXPECT_THAT(Page(), HasSubstr("0.520 →</small> missing"));
  EXPECT_THAT(Page(), HasSubstr("1 value missing"));
  EXPECT_TRUE(json::parse(Read("summary.json"))["heldout"]["final"]["reward_mean"].is_null());
}

TEST_F(ReportTest, ComparesNoRewardsThatWereReplacedAndMarksWhere) {
  json base = json::parse(EvaluationLine(0, 0.52, 0.125)), last = json::parse(EvaluationLine(4, 37, 0));
  json before = json::parse(UpdateLine(2, 0.6)), after = json::parse(UpdateLine(3, 36));
  base["reward_spec"] = before["reward_spec"] = 1, after["reward_spec"] = last["reward_spec"] = 2;
  Write("metrics.jsonl", base.dump() + "\n" + before.dump() + "\n" + after.dump() + "\n" + last.dump() + "\n");
  const std::string page = Page();
  EXPECT_THAT(page, Not(HasSubstr("0.520 →")));
  EXPECT_THAT(page, HasSubstr("The base was measured by other rewards"));
  EXPECT_THAT(page, Not(HasSubstr("12.5 % →")));
  EXPECT_THAT(page, HasSubstr("After update 2 the rewards were replaced: those of the configuration → version 2"));
  EXPECT_THAT(page, HasSubstr("class=\"mark\""));
}

TEST_F(ReportTest, CallsTheLastEvaluationOfAStoppedRunNotFinal) {
  Write("metrics.jsonl", EvaluationLine(0, 0.52, 0.125) + UpdateLine(1, 0.55) + EvaluationLine(1, 0.6, 0.2, "latest"));
  EXPECT_THAT(Page(), HasSubstr("base → update 1, not the final one"));
  const json summary = json::parse(Read("summary.json"));
  EXPECT_TRUE(summary["heldout"]["final"].is_null());
  EXPECT_EQ(summary["heldout"]["latest"]["reward_mean"], 0.6);
}

TEST_F(ReportTest, NeedsNothingFromOutside) {
  const std::string page = Page();
  for (const char* outside : {"http:", "https:", "<script", "<link", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
}

TEST_F(ReportTest, EscapesEverythingFromTheRunDirectory) {
  const std::string evil = "<img src=x onerror=\"alert('1')\">";
  Write("config.yaml", "name: " + evil);
  WritePicture("final", "000", evil, 1, evil);
  json line = json::parse(EvaluationLine(2, 0.95, 0.875));
  line["run_id"] = evil;
  line["by_scorer"] = {{evil, 1.0}};
  json update = json::parse(UpdateLine(1, 0.5));
  update["seconds"] = {{evil, 1.0}};
  Write("metrics.jsonl", update.dump() + "\n" + line.dump() + "\n");
  const std::string page = Page();
  EXPECT_THAT(page, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(page, Not(HasSubstr("onerror=\"")));
  EXPECT_THAT(page, HasSubstr("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;"));
}

TEST_F(ReportTest, TellsWhatItLeftOut) {
  Write("metrics.jsonl", Read("metrics.jsonl") + "{\"kind\":");
  EXPECT_THAT(Page(), HasSubstr("The last line of metrics.jsonl is cut short"));
  EXPECT_THAT(json::parse(Read("summary.json"))["notes"].dump(), HasSubstr("cut short"));
}

TEST_F(ReportTest, WritesNothingWhereThereIsNoRun) {
  std::filesystem::remove(run_dir_ + "/metrics.jsonl");
  EXPECT_TRUE(absl::IsNotFound(WriteReport(run_dir_)));
  EXPECT_FALSE(std::filesystem::exists(run_dir_ + "/report.html"));
  EXPECT_FALSE(std::filesystem::exists(run_dir_ + "/summary.json"));
}

}  // namespace
}  // namespace flowawr
