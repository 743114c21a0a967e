// `flowawr run` with its real processes and the embedded model, cut down to seconds.
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/tensor/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/command.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> RunArguments(const std::string& run_dir, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"run", "configs/tiny-ocr.yaml", "--run-dir", run_dir};
  for (const char* field : {"train.updates=4", "train.threads=1", "rollout.groups_per_batch=2",
                            "rollout.samples_per_group=4", "evaluation.prompts=2", "evaluation.final_prompts=2",
                            "evaluation.pictures=2", "evaluation.every_updates=2", "local.actors=2"})
    arguments.insert(arguments.end(), {"--set", field});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(RunTest, SavesOnCtrlCAndResumesToTheEnd) {
  TempFolder folder;
  const std::string run_dir = folder / "run";
  Command first(folder, RunArguments(run_dir));
  ASSERT_TRUE(first.ReadUntil("update 1 of 4")) << first.output();
  first.Signal(SIGINT);
  EXPECT_EQ(first.AwaitEnd(), "exit status 130") << first.output();
  EXPECT_THAT(first.output(), HasSubstr("--resume"));
  EXPECT_TRUE(std::filesystem::exists(run_dir + "/checkpoints/latest"));

  Command again(folder, RunArguments(run_dir));
  EXPECT_EQ(again.AwaitEnd(), "exit status 73") << again.output();
  EXPECT_THAT(again.output(), HasSubstr("already holds a run"));

  Command resumed(folder, RunArguments(run_dir, {"--resume"}));
  EXPECT_EQ(resumed.AwaitEnd(), "") << resumed.output();
  EXPECT_THAT(resumed.output(), HasSubstr("continuing in "));
  EXPECT_THAT(resumed.output(), Not(HasSubstr("evaluating the base model")));
  EXPECT_THAT(resumed.output(), HasSubstr("4 of 4 updates"));
  for (const char* file : {"report.html", "summary.json", "export/peft/adapter_model.safetensors", "config.yaml"})
    EXPECT_TRUE(std::filesystem::exists(run_dir + "/" + file)) << file;
}

// The pictures of an evaluation, "base" or "final", one after the other.
std::string PixelsOf(const std::string& run_dir, const std::string& evaluation) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir + "/images/" + evaluation))
    if (entry.path().extension() == ".png") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  std::string pixels;
  for (const std::string& file : files) pixels += DecodePng(ReadFile(file).value()).value().rgb;
  EXPECT_FALSE(pixels.empty());
  return pixels;
}

TEST(RunTest, BeginsWhereTheRunWhoseAdapterItIsGivenEnded) {
  TempFolder folder;
  const std::vector<std::string> quick = {"--set", "train.updates=1", "--set", "optimizer.learning_rate=0.01"};
  Command first(folder, RunArguments(folder / "first", quick));
  ASSERT_EQ(first.AwaitEnd(), "") << first.output();
  std::vector<std::string> from_there = quick;
  from_there.insert(from_there.end(), {"--set", "lora.init_from=" + (folder / "first/export/peft")});
  Command second(folder, RunArguments(folder / "second", from_there));
  ASSERT_EQ(second.AwaitEnd(), "") << second.output();

  EXPECT_NE(PixelsOf(folder / "first", "base"), PixelsOf(folder / "first", "final")) << "nothing was learnt";
  EXPECT_EQ(PixelsOf(folder / "first", "final"), PixelsOf(folder / "second", "base"));
  EXPECT_NE(PixelsOf(folder / "second", "base"), PixelsOf(folder / "second", "final"));

  // What a resumed run once started from may be gone.
  std::filesystem::remove_all(folder / "first/export");
  from_there.insert(from_there.end(), {"--resume", "--set", "train.updates=2"});
  Command resumed(folder, RunArguments(folder / "second", from_there));
  EXPECT_EQ(resumed.AwaitEnd(), "") << resumed.output();

  // Pictures are of the newest checkpoint, whatever was exported since or before.
  std::filesystem::rename(folder / "second/export", folder / "first/export");
  Command sample(folder, {"sample", folder / "first", "--prompt", "x", "--out", folder / "drawn"});
  EXPECT_EQ(sample.AwaitEnd(), "") << sample.output();
  EXPECT_THAT(ReadFile(folder / "drawn/prompt-000-image-00.png").value(),
              HasSubstr(folder / "first/checkpoints/update-000001/average.safetensors"));

  Command other_rank(
      folder, RunArguments(folder / "third",
                           {"--set", "lora.init_from=" + (folder / "first/export/peft"), "--set", "lora.rank=3"}));
  EXPECT_NE(other_rank.AwaitEnd(), "");
  EXPECT_THAT(other_rank.output(), HasSubstr("are not those of the configuration; write there"));
}

TEST(RunTest, SaysWhatIsMissingBeforeAnythingStarts) {
  TempFolder folder;
  const std::string run_dir = folder / "run";
  Command no_model(folder, RunArguments(run_dir, {"--set", "model.path=nowhere"}));
  EXPECT_EQ(no_model.AwaitEnd(), "exit status 66");
  EXPECT_THAT(no_model.output(), HasSubstr("model.path: nowhere does not exist"));
  Command no_prompts(folder, RunArguments(run_dir, {"--set", "prompts.train=none.txt"}));
  EXPECT_EQ(no_prompts.AwaitEnd(), "exit status 66");
  EXPECT_THAT(no_prompts.output(), HasSubstr("prompts.train"));
  Command no_adapter(folder, RunArguments(run_dir, {"--set", "lora.init_from=nowhere"}));
  EXPECT_EQ(no_adapter.AwaitEnd(), "exit status 66");
  EXPECT_THAT(no_adapter.output(), HasSubstr("lora.init_from: nowhere does not exist"));
  Command nothing_to_resume(folder, RunArguments(run_dir, {"--resume"}));
  EXPECT_EQ(nothing_to_resume.AwaitEnd(), "exit status 66");
  EXPECT_FALSE(std::filesystem::exists(run_dir));
}

}  // namespace
}  // namespace flowawr
