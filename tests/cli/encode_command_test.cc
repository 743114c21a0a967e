// `flowawr encode` as people run it: a process, and files in a folder.
#include "cli/encode_command.h"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/sd3/prompt_cache.h"
#include "common/sd3/text_encoders.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Model() { return SourceFolder() + "/models/tiny-sd3"; }

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

Outcome Encode(const TempFolder& folder, const std::string& arguments) {
  const std::string log = folder / "log";
  const std::string command = absl::StrCat("OMP_NUM_THREADS=1 '", std::getenv("FLOWAWR_BUILD_DIR"),
                                           "/bin/flowawr' encode ", arguments, " >", log, " 2>&1");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(log).value_or("")};
}

TEST(EncodeCommand, WritesWhatAnActorWouldComputeAndSkipsWhatIsThere) {
  const TempFolder folder;
  const std::string prompts = folder.Write("prompts", "a cat\na dog\na cat\n");
  const std::string arguments =
      absl::StrCat("--model ", Model(), " --max-sequence-length 12 --cache ", folder / "cache", " --prompts ", prompts);
  const Outcome first = Encode(folder, arguments);
  ASSERT_EQ(first.exit_code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("2 of 2 prompts encoded, 0 were there"));
  EXPECT_THAT(first.output, HasSubstr("now holds 2 entries"));

  const auto cache = PromptCache::Open(folder / "cache", Model(), at::kFloat, 12).value();
  const auto encoders = TextEncoders::Load(Model(), {.max_sequence_length = 12}).value();
  for (const char* prompt : {"a cat", "a dog"}) {
    const auto cached = cache->Get(prompt);
    ASSERT_TRUE(cached.ok()) << cached.status();
    const PromptEmbeds expected = encoders->EncodePrompts({prompt}).value();
    EXPECT_TRUE(cached->prompt_embeds.equal(expected.prompt_embeds));
    EXPECT_TRUE(cached->pooled.equal(expected.pooled));
  }

  std::filesystem::resize_file(cache->PathOf("a dog"), 100);
  const Outcome again = Encode(folder, arguments);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.output, HasSubstr("1 of 1 prompts encoded, 1 were there"));
  EXPECT_THAT(again.output, HasSubstr("computed anew"));
  EXPECT_TRUE(cache->Get("a dog").ok());
}

TEST(EncodeCommand, TakesAllPromptsOfAConfiguration) {
  const TempFolder folder;
  const std::string train = folder.Write("train", "a cat\n"), heldout = folder.Write("heldout", "a dog\n");
  const Outcome outcome =
      Encode(folder, absl::StrCat(SourceFolder(), "/configs/tiny-ocr.yaml --set model.path=", Model(),
                                  " --set prompts.train=", train, " --set prompts.heldout=", heldout,
                                  " --set model.embeds_cache=", folder / "cache"));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("2 of 2 prompts encoded"));
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
  EXPECT_THAT(error(absl::StrCat("--model /nowhere --cache c --prompts ", prompts)), HasSubstr("does not exist"));
}

TEST(EncodeCommand, DescribesRateAndTimeLeftOnceTheyAreKnown) {
  EXPECT_EQ(DescribeEncoding("text_encoder", 1, 10, 0, absl::ZeroDuration()), "text_encoder: 1 of 10 prompts");
  EXPECT_EQ(DescribeEncoding("text_encoder", 5, 10, 4, absl::Seconds(8)),
            "text_encoder: 5 of 10 prompts, 0.5 a second, about 0:10 left");
  EXPECT_THAT(DescribeEncoding("text_encoder", 10, 10, 9, absl::Seconds(8)), Not(HasSubstr("left")));
}

}  // namespace
}  // namespace flowawr
