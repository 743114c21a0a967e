// `flowawr prompts` as people run it: a process, files, and a reward server with the real scorers for `check`.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/config/prompts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/outcome.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Outcome Prompts(const TempFolder& folder, const std::string& arguments) {
  return RunFlowawr(folder, "prompts " + arguments);
}

std::vector<std::string> Lines(const std::string& file) {
  return absl::StrSplit(ReadFile(file).value_or(""), '\n', absl::SkipEmpty());
}

TEST(PromptsCommand, MakesTrainingAndHeldOutSetsThatAreApartAndTheSameForASeed) {
  const TempFolder folder;
  const auto make = [&](const std::string& set, int seed) {
    const Outcome outcome =
        Prompts(folder, absl::StrCat("geneval --count 553 --seed ", seed, " --heldout-count 90 --out ", folder / set,
                                     ".jsonl --heldout ", folder / set, "-out.jsonl"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(set + ".jsonl: 553 prompts (single_object 67, "));
    return ReadFile(folder / (set + ".jsonl")).value_or("") + ReadFile(folder / (set + "-out.jsonl")).value_or("");
  };
  const std::string first = make("a", 9);
  EXPECT_EQ(first, make("b", 9));
  EXPECT_NE(first, make("c", 10));
  std::set<std::string> heldout;
  for (const std::string& line : Lines(folder / "a-out.jsonl")) heldout.insert(line);
  EXPECT_EQ(heldout.size(), 90u);
  for (const std::string& line : Lines(folder / "a.jsonl")) EXPECT_EQ(heldout.count(line), 0u) << line;
  EXPECT_TRUE(RunPython("tests/common/prompts/check_geneval.py", {folder / "a.jsonl", "geneval"}));
}

TEST(PromptsCommand, WritesSetsThatTheRewardsRead) {
  const TempFolder folder;
  ASSERT_EQ(Prompts(folder, absl::StrCat("shapes --count 300 --out ", folder / "shapes.jsonl", " --heldout ",
                                         folder / "shapes-out.jsonl"))
                .exit_code,
            0);
  EXPECT_EQ(Lines(folder / "shapes-out.jsonl").size(), 60u);  // a fifth
  EXPECT_TRUE(RunPython("tests/common/prompts/check_geneval.py", {folder / "shapes.jsonl", "shapes"}));
  const Outcome ocr =
      Prompts(folder, absl::StrCat("ocr --count 200 --out ", folder / "ocr.txt", " --heldout ", folder / "o.jsonl"));
  ASSERT_EQ(ocr.exit_code, 0) << ocr.output;
  std::set<std::string> lines;
  for (const std::string& line : Lines(folder / "ocr.txt")) lines.insert(line);
  EXPECT_EQ(lines.size(), 200u);
  EXPECT_EQ(PromptSet::Load(folder / "o.jsonl")->At(0).metadata().at("target").size(), 3u);
  const Outcome check =
      Prompts(folder, absl::StrCat("check ", folder / "ocr.txt", " ", folder / "o.jsonl", " --reward ocr"));
  EXPECT_EQ(check.exit_code, 0) << check.output;
  EXPECT_THAT(check.output, HasSubstr("all prompts are good; asked: ocr"));
}

TEST(PromptsCommand, TakesTextsTemplatesTasksAndWhatToLeaveOut) {
  const TempFolder folder;
  const std::string words = folder.Write("words", "Open\n\nClosed\nFor sale\n");
  const Outcome scenes = Prompts(folder, absl::StrCat("ocr --words ", words, " --count 3 --template 'a door: \"{}\"'"));
  EXPECT_EQ(scenes.exit_code, 0);
  EXPECT_THAT(scenes.output, HasSubstr("a door: \"For sale\"\n"));
  const std::string seen = folder.Write("seen.txt", "a photo of a bench\na photo of a cow\n");
  const Outcome single = Prompts(folder, absl::StrCat("geneval --tasks single_object --count 78 --without ", seen));
  EXPECT_EQ(single.exit_code, 0) << single.output;
  EXPECT_THAT(single.output, Not(HasSubstr("bench")));
  const Outcome too_many = Prompts(folder, absl::StrCat("geneval --tasks single_object --count 79 --without ", seen));
  EXPECT_EQ(too_many.exit_code, 78);
  EXPECT_THAT(too_many.output, HasSubstr("there are only 78 such prompts, not 79"));
  const Outcome weighted = Prompts(folder, absl::StrCat("geneval --tasks counting=1,position=3 --count 40 --out ",
                                                        folder / "w.jsonl"));
  EXPECT_THAT(weighted.output, HasSubstr("(counting 10, position 30)"));
}

TEST(PromptsCommand, RefusesWhatItCannotWrite) {
  const TempFolder folder;
  const std::string there = folder.Write("there.jsonl", "mine\n");
  const auto fails = [&](const std::string& arguments, int code, const std::string& why) {
    const Outcome outcome = Prompts(folder, arguments);
    EXPECT_EQ(outcome.exit_code, code) << arguments << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(why));
  };
  fails("geneval --out " + there, 73, "--force writes over it");
  EXPECT_EQ(ReadFile(there).value(), "mine\n");
  fails("shapes --out x.txt", 64, "name the file *.jsonl");
  fails("ocr --out x.csv", 64, "written as *.jsonl or as text");
  fails("shapes --out x.jsonl --heldout x.jsonl", 64, "two sets");
  fails("geneval --tasks conting --count 1", 64, "did you mean \"counting\"?");
  fails("geneval --tasks counting=0 --count 1", 64, "the weight of counting");
  fails("ocr --length 5-3", 64, "the least before the most");
  fails("ocr --heldout-count 3", 64, "--heldout");
  fails("geneval --seed x", 64, "--seed");
  EXPECT_EQ(Prompts(folder, "geneval --count 3 --force --out " + there).exit_code, 0);
  EXPECT_EQ(Lines(there).size(), 3u);
}

TEST(PromptsCheck, ExplainsEveryBadLine) {
  const TempFolder folder;
  const std::string file = folder.Write("p.jsonl",
                                        "{\"prompt\": \"a sign that says \\\"CAT\\\"\"}\n"
                                        "nonsense\n"
                                        "{\"prompt\": \"a dog\"}\n"
                                        "{\"prompt\": 7}\n"
                                        "{\"prompt\": \"a mug\", \"target\": \"OK\"}\n"
                                        "{\"prompt\": \"a mug\", \"target\": \"OK\"}\n");
  const Outcome outcome = Prompts(folder, absl::StrCat("check ", file, " --reward ocr"));
  EXPECT_EQ(outcome.exit_code, 65) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("p.jsonl:2: not JSON"));
  EXPECT_THAT(outcome.output, HasSubstr("p.jsonl:3: ocr: "));
  EXPECT_THAT(outcome.output, HasSubstr("what to do: put the text that the picture should show into double quotes"));
  EXPECT_THAT(outcome.output, HasSubstr("p.jsonl:4: the field \"prompt\" must be a string"));
  EXPECT_THAT(outcome.output, HasSubstr("p.jsonl: 4 prompts, 3 faults"));
  EXPECT_THAT(outcome.output, HasSubstr("1 prompts of "));
  EXPECT_THAT(outcome.output, Not(HasSubstr("p.jsonl:5")));
  const Outcome few = Prompts(folder, absl::StrCat("check ", file, " --most 1"));
  EXPECT_THAT(few.output, HasSubstr("and 1 more; --most shows more"));
  EXPECT_THAT(few.output, HasSubstr("no scorer was asked"));
}

TEST(PromptsCheck, ChecksARunsFilesRewardsAndTokenLimits) {
  const TempFolder folder;
  const std::string train = folder.Write("train.txt",
                                         "a sign that says \"CAT\"\n"
                                         "a sign by the road that goes on and on and on for ever and says \"DOG\"\n"),
                    heldout = folder.Write("heldout.txt", "a sign that says \"CAT\"\n");
  const std::string set = absl::StrCat("--config configs/tiny-ocr.yaml --set prompts.train=", train,
                                       " --set prompts.heldout=", heldout);
  const Outcome good = Prompts(folder, "check " + set);
  EXPECT_EQ(good.exit_code, 0) << good.output;
  EXPECT_THAT(good.output, HasSubstr("train.txt:2: CLIP reads 12 tokens of a prompt, not this end of it: "));
  EXPECT_THAT(good.output, HasSubstr("it holds quoted text"));
  EXPECT_THAT(good.output, HasSubstr("heldout.txt are in another of the files too"));
  const Outcome bad = Prompts(folder, absl::StrCat("check ", folder.Write("bad.txt", "a dog\n"), " ", set));
  EXPECT_EQ(bad.exit_code, 65) << bad.output;
  EXPECT_THAT(bad.output, HasSubstr("bad.txt:1: ocr: "));
  EXPECT_EQ(Prompts(folder, "check").exit_code, 64);
  EXPECT_EQ(Prompts(folder, "check nowhere.txt --reward ocr").exit_code, 66);
  EXPECT_THAT(Prompts(folder, absl::StrCat("check ", train, " --reward occr")).output, HasSubstr("did you mean"));
}

}  // namespace
}  // namespace flowawr
