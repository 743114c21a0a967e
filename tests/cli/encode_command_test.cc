// `flowawr encode` as people run it: a process, and files in a folder.
#include "cli/encode_command.h"

#include <signal.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/sd3/prompt_cache.h"
#include "common/sd3/text_encoders.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/command.h"
#include "tests/cli/outcome.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Model() { return SourceFolder() + "/models/tiny-sd3"; }

Outcome Encode(const TempFolder& folder, const std::string& arguments, const std::string& before = "") {
  return RunFlowawr(folder, "encode " + arguments, before);
}

TEST(EncodeCommand, WritesWhatAnActorWouldComputeAndSkipsWhatIsThere) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", "a cat\na dog\na cat\n");
  const std::string arguments =
      absl::StrCat("--model ", Model(), " --max-sequence-length 12 --cache ", folder / "cache", " --prompts ", prompts);
  const Outcome first = Encode(folder, arguments);
  ASSERT_EQ(first.exit_code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("3 of 3 prompts encoded, 0 were there"));
  EXPECT_THAT(first.output, HasSubstr("now holds 3 entries"));

  const auto cache = PromptCache::Open(folder / "cache", Model(), at::kFloat, 12).value();
  const auto encoders = TextEncoders::Load(Model(), {.max_sequence_length = 12}).value();
  for (const char* prompt : {"a cat", "a dog"}) {
    const auto cached = cache->Get(prompt);
    ASSERT_TRUE(cached.ok()) << cached.status();
    const PromptEmbeds expected = encoders->EncodePrompts({prompt}).value();
    EXPECT_TRUE(cached->prompt_embeds.equal(expected.prompt_embeds));
    EXPECT_TRUE(cached->pooled.equal(expected.pooled));
  }

  EXPECT_TRUE(cache->Get("").ok());  // for guidance
  std::filesystem::resize_file(cache->PathOf("a dog"), 100);
  std::string changed = ReadFile(cache->PathOf("a cat")).value();
  changed.back() = static_cast<char>(changed.back() ^ 1);
  ASSERT_TRUE(WriteFileAtomically(cache->PathOf("a cat"), changed).ok());
  const Outcome again = Encode(folder, arguments);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.output, HasSubstr("2 of 2 prompts encoded, 1 were there"));
  EXPECT_THAT(again.output, HasSubstr("computed anew"));
  EXPECT_TRUE(cache->Get("a dog").ok());
  EXPECT_TRUE(cache->Get("a cat").ok());
}

TEST(EncodeCommand, TakesAsManyTokensAsTheModelWasMadeFor) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", "a cat\n"), more = folder.Write("more", "a dog\n");
  const std::string config =
      folder.Write("run.yaml", absl::StrCat("run_dir: run\nmodel: {path: ", Model(), "}\nprompts: {train: ", prompts,
                                            "}\nrewards: {terms: [{scorer: ocr}]}\nevaluation: {every_updates: 0}\n"));
  // A configuration after a file of prompts is not one more such file.
  for (const std::string& what : {absl::StrCat("--model ", Model(), " --prompts ", prompts, " --prompts ", more),
                                  absl::StrCat("--prompts ", more, " ", config)}) {
    const std::string place = folder / absl::StrCat("cache-", what.size());
    const Outcome outcome = Encode(folder, absl::StrCat(what, " --cache ", place));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("3 of 3 prompts encoded"));
    const auto cache = PromptCache::Open(place, Model(), at::kFloat, 12).value();
    EXPECT_TRUE(cache->Get("a cat").ok());
    EXPECT_TRUE(cache->Get("a dog").ok());
  }
}

TEST(EncodeCommand, TakesAllPromptsOfAConfiguration) {
  const TempFolder folder;
  const std::string train = folder.Write("train", "a cat\n"), heldout = folder.Write("heldout", "a dog\n");
  const Outcome outcome =
      Encode(folder, absl::StrCat(SourceFolder(), "/configs/tiny-ocr.yaml --set model.path=", Model(),
                                  " --set prompts.train=", train, " --set prompts.heldout=", heldout,
                                  " --set model.embeds_cache=", folder / "cache"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("3 of 3 prompts encoded"));
  const auto cache = PromptCache::Open(folder / "cache", Model(), at::kFloat, 12).value();
  EXPECT_TRUE(cache->Get("a cat").ok());
  EXPECT_TRUE(cache->Get("a dog").ok());
}

TEST(EncodeCommand, SaysWhatIsMissing) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", "a cat\n");
  const auto error = [&](const std::string& arguments) {
    const Outcome outcome = Encode(folder, arguments);
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    return outcome.output;
  };
  EXPECT_THAT(error(""), HasSubstr("--model FOLDER"));
  EXPECT_THAT(error("--model " + Model()), HasSubstr("--prompts FILE"));
  EXPECT_THAT(error(absl::StrCat("--model ", Model(), " --prompts ", prompts)), HasSubstr("--cache DIR"));
  EXPECT_THAT(error(absl::StrCat("--model ", Model(), " --cache c --set a=b --prompts ", prompts)), HasSubstr("--set"));
  // A file where the cache is to be: known before any encoder is read.
  const std::string at_once = error(absl::StrCat("--model ", Model(), " --cache ", prompts, " --prompts ", prompts));
  EXPECT_THAT(at_once, HasSubstr("Not a directory"));
  EXPECT_THAT(at_once, Not(HasSubstr("text_encoder")));
  EXPECT_THAT(error(absl::StrCat("--model /nowhere --cache c --prompts ", prompts)), HasSubstr("does not exist"));
}

// The entries of a cache that are whole, of prompts "0", "1", ...; none is damaged.
int WholeEntries(const std::string& folder, int prompts) {
  const auto cache = PromptCache::Open(folder, Model(), at::kFloat, 12).value();
  int whole = 0;
  for (int i = 0; i < prompts; ++i) {
    const absl::Status status = cache->Get(absl::StrCat(i)).status();
    EXPECT_TRUE(status.ok() || absl::IsNotFound(status)) << status;
    whole += status.ok();
  }
  return whole;
}

bool HasEntry(const std::string& folder) {
  return PromptCache::Open(folder, Model(), at::kFloat, 12).value()->usage().entries > 0;
}

std::string Numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) absl::StrAppend(&text, i, "\n");
  return text;
}

TEST(EncodeCommand, KeepsWhatIsDoneOnCtrlCAndGoesOnFromThere) {
  constexpr int kCount = 3000;
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", Numbers(kCount)), cache = folder / "cache";
  const std::vector<std::string> arguments = {"encode", "--model",   Model(), "--max-sequence-length",
                                              "12",     "--cache",   cache,   "--prompts",
                                              prompts,  "--threads", "1"};
  Command command(folder, arguments);
  ASSERT_TRUE(command.ReadUntil("text_encoder: 1 of 3001 prompts")) << command.output();
  while (!HasEntry(cache)) std::this_thread::yield();
  command.Signal(SIGINT);
  EXPECT_EQ(command.AwaitEnd(), "exit status 130");
  EXPECT_THAT(command.output(), HasSubstr("the same command goes on from here"));
  const int whole = WholeEntries(cache, kCount);
  EXPECT_GE(whole, 1);
  EXPECT_LT(whole, kCount);

  Command again(folder, arguments);
  EXPECT_EQ(again.AwaitEnd(), "");
  EXPECT_THAT(again.output(), HasSubstr(absl::StrCat(kCount + 1 - whole, " prompts encoded, ", whole, " were there")));
  EXPECT_EQ(WholeEntries(cache, kCount), kCount);
}

TEST(EncodeCommand, LosesNothingWhenTheDiskTakesNoMore) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", Numbers(3)), cache = folder / "cache";
  const std::string arguments =
      absl::StrCat("--model ", Model(), " --max-sequence-length 12 --cache ", cache, " --prompts ", prompts);
  // No file may be longer than a block of 1 KiB; without its signal, writing fails as on a full disk.
  const std::string limits = "trap '' XFSZ; ulimit -f 1; ";
  const Outcome full = Encode(folder, arguments, limits);
  EXPECT_NE(full.exit_code, 0);
  EXPECT_THAT(full.output, HasSubstr("free some room"));
  EXPECT_THAT(full.output, HasSubstr(cache));
  EXPECT_EQ(WholeEntries(cache, 3), 0);
  EXPECT_EQ(Encode(folder, arguments).exit_code, 0);
  EXPECT_EQ(WholeEntries(cache, 3), 3);
}

TEST(EncodeCommand, SharesACacheWithOthersThatFillIt) {
  constexpr int kCount = 300;
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", Numbers(kCount)), cache = folder / "cache";
  const TempFolder outputs[3];
  std::vector<std::unique_ptr<Command>> commands;
  for (const TempFolder& output : outputs) {
    commands.push_back(std::make_unique<Command>(
        output, std::vector<std::string>{"encode", "--model", Model(), "--max-sequence-length", "12", "--cache", cache,
                                         "--prompts", prompts, "--threads", "1"}));
  }
  for (const auto& command : commands) EXPECT_EQ(command->AwaitEnd(), "") << command->output();
  EXPECT_EQ(WholeEntries(cache, kCount), kCount);
  EXPECT_EQ(PromptCache::Open(cache, Model(), at::kFloat, 12).value()->usage().entries, kCount + 1);
}

TEST(EncodeCommand, WarnsOfPromptsThatAreTooLong) {
  const TempFolder folder;
  const std::string line = "a sign that says more than the model can read\n";
  std::string prompts;
  for (int i = 0; i < 12; ++i) absl::StrAppend(&prompts, i, " ", line);
  const Outcome outcome = Encode(folder, absl::StrCat("--model ", Model(), " --max-sequence-length 512 --cache ",
                                                      folder / "cache", " --prompts ", folder.Write("p", prompts)));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("warning: CLIP reads 12 tokens of a prompt, not this end of it: \""));
  EXPECT_THAT(outcome.output, HasSubstr("warning: more prompts are too long"));
}

TEST(EncodeCommand, DescribesRateAndTimeLeftOnceTheyAreKnown) {
  EXPECT_EQ(DescribeEncoding("text_encoder", 1, 10, 0, absl::ZeroDuration()), "text_encoder: 1 of 10 prompts");
  EXPECT_EQ(DescribeEncoding("text_encoder", 5, 10, 4, absl::Seconds(8)),
            "text_encoder: 5 of 10 prompts, 0.5 a second, about 0:10 left");
  EXPECT_THAT(DescribeEncoding("text_encoder", 10, 10, 9, absl::Seconds(8)), Not(HasSubstr("left")));
}

}  // namespace
}  // namespace flowawr
