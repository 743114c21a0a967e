// `flowawr score` as people run it: a process, its reward server with the real scorers, and files in a folder.
#include <signal.h>
#include <sys/types.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/tensor/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/command.h"
#include "tests/cli/outcome.h"
#include "tests/system/scripted_rewards.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Every pixel other than its neighbours.
Image Pattern(int height, int width) {
  Image image{height, width, ""};
  for (int i = 0; i < 3 * height * width; ++i) image.rgb += static_cast<char>(i * i / 7);
  return image;
}

std::string ReadProcFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<nlohmann::json> Scores(const std::string& out) {
  std::vector<nlohmann::json> scores;
  const std::string lines = ReadFile(out + "/scores.jsonl").value_or("");
  for (const absl::string_view line : absl::StrSplit(lines, '\n', absl::SkipEmpty()))
    scores.push_back(nlohmann::json::parse(line));
  return scores;
}

TEST(ScoreCommand, ReadsWordsAndPutsTheBestFirst) {
  const TempFolder folder;
  folder.Write("in/.keep", "");
  ASSERT_TRUE(RunPython("tests/reward_server/scorers/draw_words.py", {folder / "in", "CAT", "DOG"}));
  const std::string dog = ReadFile(folder / "in/DOG.png").value();
  // A picture with its prompt in its text, one as a JPEG whose prompt is in the file, and a wrong one.
  folder.Write("in/own.png",
               EncodePng(DecodePng(dog).value(), {{"prompt", "a sign that says \"DOG\""}, {"seed", "1"}}).value());
  folder.Write("in/photo.jpg", EncodeJpeg(DecodePng(dog).value(), 95).value());
  const std::string prompts = folder.Write("prompts.csv",
                                           "file_name,prompt,target\nCAT.png,a sign,CAT\nDOG.png,a sign,XQZ\n"
                                           "photo.jpg,a sign,DOG\ngone.png,a sign,DOG\n");
  const Outcome outcome = RunFlowawr(
      folder, absl::StrCat("score ocr ", folder / "in", " --prompts ", prompts, " --out ", folder / "out"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("ocr: mean 0.75"));
  EXPECT_THAT(outcome.output, HasSubstr("exact 75.0 %"));
  EXPECT_THAT(outcome.output, HasSubstr("(tesseract"));
  EXPECT_THAT(outcome.output, HasSubstr("not there: gone.png"));
  const std::vector<nlohmann::json> scores = Scores(folder / "out");
  ASSERT_EQ(scores.size(), 4u);
  EXPECT_EQ(scores.back()["file_name"], "DOG.png");
  EXPECT_EQ(scores.back()["scorers"]["ocr"]["details"]["text"], "DOG");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(scores[i]["reward"], 1.0) << scores[i];
  const auto sheet = DecodePng(ReadFile(folder / "out/sheet.png").value());
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_GE(sheet->width, 2 * 160);
  const std::string page = ReadFile(folder / "out/index.html").value();
  EXPECT_LT(page.find("CAT.png"), page.find("DOG.png"));
  EXPECT_THAT(page, HasSubstr("read <span class=\"read match\">CAT</span>"));

  // Nothing is written over by accident.
  const Outcome again = RunFlowawr(
      folder, absl::StrCat("score ocr ", folder / "in", " --prompts ", prompts, " --out ", folder / "out"));
  EXPECT_EQ(again.exit_code, 73) << again.output;
  EXPECT_THAT(again.output, HasSubstr("--force"));
  EXPECT_EQ(RunFlowawr(folder, absl::StrCat("score jpeg_compressibility ", folder / "in",
                                            " --prompt x --force --out ", folder / "out"))
                .exit_code,
            0);
}

TEST(ScoreCommand, NamesBadPicturesAndScoresTheRest) {
  const TempFolder folder;
  const std::string png = EncodePng(Pattern(40, 40)).value(), jpeg = EncodeJpeg(Pattern(40, 40), 90).value();
  folder.Write("in/good.png", png);
  folder.Write("in/sub/good.jpg", jpeg);
  folder.Write("in/cut.png", png.substr(0, png.size() / 2));
  folder.Write("in/cut.jpg", jpeg.substr(0, jpeg.size() / 2));
  folder.Write("in/empty.png", "");
  folder.Write("in/text.png", "this is no picture");
  std::string none = png, bomb = png;
  none.replace(16, 8, std::string(8, '\0'));                          // 0 x 0
  bomb.replace(16, 8, std::string("\0\0\x4e\x20\0\0\x4e\x20", 8));    // 20,000 x 20,000
  folder.Write("in/none.png", none);
  folder.Write("in/bomb.png", bomb);
  folder.Write("in/large.jpg", EncodeJpeg(Pattern(1, 5000), 50).value());
  const Outcome outcome = RunFlowawr(folder, absl::StrCat("score jpeg_compressibility,scale=5 ", folder / "in",
                                                          " --prompt 'a pattern' --out ", folder / "out"));
  EXPECT_EQ(outcome.exit_code, 65) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("7 of 9 pictures have no reward"));
  for (const char* name : {"cut.png", "cut.jpg", "empty.png", "text.png", "none.png", "bomb.png", "large.jpg"})
    EXPECT_THAT(outcome.output, HasSubstr(absl::StrCat("no reward: ", name, ": ")));
  EXPECT_THAT(outcome.output, HasSubstr("1x5000 pixels; at most 4096 a side"));
  const std::vector<nlohmann::json> scores = Scores(folder / "out");
  ASSERT_EQ(scores.size(), 9u);
  EXPECT_TRUE(scores[0]["reward"].is_number());
  EXPECT_TRUE(scores[1]["reward"].is_number());
  EXPECT_TRUE(scores[2]["reward"].is_null());
  EXPECT_TRUE(std::filesystem::exists(folder / "out/sheet.png"));
}

TEST(ScoreCommand, ScoresByEveryRewardOfAConfiguration) {
  const TempFolder folder;
  folder.Write("in/a.png", EncodePng(Pattern(32, 64), {{"prompt", "a sign that says \"CAT\""}}).value());
  folder.Write("in/b.png", EncodePng({32, 64, std::string(32 * 64 * 3, '\xff')}, {{"prompt", "no text"}}).value());
  folder.Write("p", "x\n");
  ScriptedRewards elsewhere({{"taste", 2}});
  const std::string config = folder.Write(
      "run.yaml",
      absl::StrCat("run_dir: run\nmodel: {path: m}\nprompts: {train: p}\nevaluation: {every_updates: 0}\nrewards:\n"
                   "  terms:\n    - {scorer: ocr}\n"
                   "    - {scorer: jpeg_compressibility, weight: 0.5, options: {scale: 5}}\n"
                   "    - {scorer: taste, weight: -1, endpoint: \"",
                   elsewhere.endpoint(), "\"}\n"));
  const Outcome outcome =
      RunFlowawr(folder, absl::StrCat("score ", config, " ", folder / "in", " --out ", folder / "out"));
  EXPECT_EQ(outcome.exit_code, 65) << outcome.output;  // b has no text to read
  EXPECT_THAT(outcome.output, HasSubstr("no reward: b.png: ocr: "));
  const std::vector<nlohmann::json> scores = Scores(folder / "out");
  ASSERT_EQ(scores.size(), 2u);
  const nlohmann::json& a = scores[0]["scorers"];
  EXPECT_NEAR(scores[0]["reward"].get<double>(),
              a["ocr"]["reward"].get<double>() + 0.5 * a["jpeg_compressibility"]["reward"].get<double>() -
                  a["taste"]["reward"].get<double>(),
              1e-9);
  EXPECT_GE(a["taste"]["reward"].get<double>(), 2);
  EXPECT_EQ(scores[1]["scorers"]["ocr"]["error"]["kind"], "BAD_INPUT");
  EXPECT_TRUE(scores[1]["scorers"]["taste"]["reward"].is_number());
}

TEST(ScoreCommand, SaysWhatItCannotDoBeforeItReadsAnyPicture) {
  const TempFolder folder;
  folder.Write("in/a.png", EncodePng(Pattern(4, 4), {{"prompt", "x"}}).value());
  const auto run = [&](const std::string& arguments) {
    return RunFlowawr(folder, absl::StrCat("score ", arguments, " --out ", folder / "out"));
  };
  const std::string in = folder / "in";
  const Outcome unknown = run("occr " + in);
  EXPECT_EQ(unknown.exit_code, 66) << unknown.output;
  EXPECT_THAT(unknown.output, HasSubstr("did you mean \"ocr\"?"));
  EXPECT_THAT(run("ocr,layuot=line " + in).output, HasSubstr("layuot"));
  EXPECT_EQ(run("ocr " + (folder / "nowhere")).exit_code, 66);
  EXPECT_EQ(run("none.yaml " + in).exit_code, 66);
  ScriptedRewards server({{"taste", 2}});
  const Outcome absent = run(absl::StrCat("tast ", in, " --server ", server.endpoint()));
  EXPECT_EQ(absent.exit_code, 66) << absent.output;
  EXPECT_THAT(absent.output, HasSubstr("did you mean \"taste\"?"));
  EXPECT_THAT(run(absl::StrCat("taste,scale=1 ", in, " --server ", server.endpoint())).output,
              HasSubstr("has its scorers loaded"));
  EXPECT_EQ(run("ocr --server 127.0.0.1:1 " + in).exit_code, 69);
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(ScoreCommand, TellsAScorersFailureFromABadPicture) {
  const TempFolder folder;
  folder.Write("in/a.png", EncodePng(Pattern(4, 4), {{"prompt", "x"}}).value());
  ScriptedRewards server({{"taste", 2}});
  server.SetMood(ScriptedRewards::Mood::kBroken);
  const Outcome outcome = RunFlowawr(folder, absl::StrCat("score taste ", folder / "in", " --server ",
                                                          server.endpoint(), " --out ", folder / "out"));
  EXPECT_EQ(outcome.exit_code, 69) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("no reward: a.png: taste: the lamp of the scorer is out"));
}

TEST(ScoreCommand, KeepsWhatIsDoneOnCtrlC) {
  const TempFolder folder;
  for (int i = 0; i < 3; ++i) folder.Write(absl::StrCat("in/0", i, ".png"), "no picture, and so soon done");
  for (int i = 0; i < 10; ++i)
    folder.Write(absl::StrCat("in/1", i, ".png"), EncodePng(Pattern(4, 4 + i), {{"prompt", "x"}}).value());
  ScriptedRewards server({{"taste", 2}});
  server.SetMood(ScriptedRewards::Mood::kSlow);
  Command command(folder, {"score", "taste", folder / "in", "--server", server.endpoint(), "--in-flight", "4", "--out",
                           folder / "out"});
  while (server.calls() < 4) std::this_thread::yield();
  command.Signal(SIGINT);
  EXPECT_EQ(command.AwaitEnd(), "exit status 130") << command.output();
  EXPECT_THAT(command.output(), HasSubstr("stopped: 3 of 13 pictures are scored"));
  EXPECT_EQ(Scores(folder / "out").size(), 3u);
}

// The one whose files are in that folder, as soon as it is there.
pid_t RewardServerOf(const std::string& folder) {
  while (true) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string arguments = ReadProcFile(entry.path() / "cmdline");
      if (absl::StrContains(arguments, "flowawr-reward-server") && absl::StrContains(arguments, folder))
        return std::stoi(entry.path().filename());
    }
  }
}

TEST(ScoreCommand, EndsWhenItsServerDoes) {
  const TempFolder folder;
  for (int i = 0; i < 1500; ++i)
    folder.Write(absl::StrCat("in/", i, ".png"),
                 EncodePng(Pattern(32, 60 + i % 8), {{"prompt", "a sign that says \"CAT\""}}).value());
  setenv("TMPDIR", folder.path().c_str(), 1);
  Command command(folder, {"score", "ocr", folder / "in", "--out", folder / "out"});
  kill(RewardServerOf(folder.path()), SIGKILL);
  EXPECT_EQ(command.AwaitEnd(), "exit status 70") << command.output();
  unsetenv("TMPDIR");
  EXPECT_THAT(command.output(), HasSubstr("the reward server ended, signal 9 (Killed)"));
}

TEST(ScoreCommand, LeavesNothingOfItsServerBehind) {
  const TempFolder folder;
  folder.Write("in/a.png", EncodePng(Pattern(4, 4), {{"prompt", "x"}}).value());
  folder.Write("tmp/.keep", "");
  const Outcome outcome =
      RunFlowawr(folder, absl::StrCat("score jpeg_compressibility ", folder / "in", " --out ", folder / "out"),
                 absl::StrCat("TMPDIR=", folder / "tmp", " "));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  size_t left = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "tmp")) left += entry.is_directory();
  EXPECT_EQ(left, 0u);
}

}  // namespace
}  // namespace flowawr
