#include "common/sd3/text_encoders.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/sd3/pipeline.h"
#include "tests/common/sd3/tiny_encoders.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

TEST(TextEncodersTest, DescribesWhatOfAPromptIsTooLong) {
  const auto loaded = TextEncoders::Load(kModel, {.max_sequence_length = 6});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const TextEncoders& encoders = **loaded;
  EXPECT_TRUE(encoders.DescribeCut("").empty());
  EXPECT_TRUE(encoders.DescribeCut("one").empty());
  // The embedded model's CLIP reads 12 tokens, two of them special; its tokens are mostly letters.
  EXPECT_THAT(encoders.DescribeCut("one two"),
              testing::ElementsAre("T5 reads 6 tokens of a prompt, not this end of it: \"two\""));
  EXPECT_THAT(
      encoders.DescribeCut("one “two”"),
      testing::Contains(testing::AllOf(testing::HasSubstr("T5"), testing::HasSubstr("; it holds quoted text"))));
  EXPECT_THAT(encoders.DescribeCut("one two three four"),
              testing::ElementsAre(testing::HasSubstr("CLIP reads 12 tokens of a prompt, not this end of it: \""),
                                   testing::HasSubstr("T5 reads 6 tokens")));
}

TEST(TextEncodersTest, GivesTheSameBitsOneEncoderAfterAnother) {
  const std::vector<std::string> prompts = {kPrompt, "", "a dog"};
  std::map<size_t, PromptEmbeds> taken;
  std::vector<std::string> steps;
  const absl::Status status = TextEncoders::EncodeInTurn(
      kModel, kOptions, prompts, /*batch=*/1, [](const std::string& line) { ADD_FAILURE() << line; },
      [&](const TextEncoders::Step& step) {
        EXPECT_EQ(step.all, prompts.size());
        steps.push_back(absl::StrCat(step.component, " ", step.done));
        return true;
      },
      [&](size_t prompt, PromptEmbeds embeds) {
        taken[prompt] = std::move(embeds);
        return absl::OkStatus();
      });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(taken.size(), prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) ExpectEqual(taken[i], Embeds(prompts[i]));
  EXPECT_THAT(steps, testing::ElementsAre("text_encoder 1", "text_encoder 2", "text_encoder 3", "text_encoder_2 1",
                                          "text_encoder_2 2", "text_encoder_2 3", "text_encoder_3 1",
                                          "text_encoder_3 2", "text_encoder_3 3"));
}

TEST(TextEncodersTest, StopsWhenItIsNoLongerWanted) {
  int taken = 0;
  const absl::Status status = TextEncoders::EncodeInTurn(
      kModel, kOptions, {"a", "b", "c"}, /*batch=*/1, [](const std::string& line) { ADD_FAILURE() << line; },
      [](const TextEncoders::Step& step) { return step.component != "text_encoder_3" || step.done < 2; },
      [&](size_t, const PromptEmbeds&) {
        ++taken;
        return absl::OkStatus();
      });
  EXPECT_TRUE(absl::IsCancelled(status));
  EXPECT_EQ(taken, 2);
}

TEST(TextEncodersTest, LoadsWithoutTheWeightsOfTransformerAndVae) {
  const TempFolder folder;
  for (const auto& entry : fs::directory_iterator(kModel))
    if (const std::string name = entry.path().filename().string(); name != "transformer" && name != "vae")
      fs::create_symlink(fs::absolute(entry.path()), folder / name);
  fs::create_directory(folder / "transformer");
  fs::copy_file(fs::path(kModel) / "transformer/config.json", folder / "transformer/config.json");
  const auto encoders = TextEncoders::Load(folder.path(), kOptions);
  ASSERT_TRUE(encoders.ok()) << encoders.status();
  ExpectEqual((*encoders)->EncodePrompts({kPrompt}).value(), Embeds(kPrompt));
}

TEST(TextEncodersTest, ArePartOfAPipelineOnlyIfTheyAreWanted) {
  const auto pipeline = Pipeline::LoadImageSide(kModel, {});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_EQ((*pipeline)->EncodePrompts({kPrompt}).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace flowawr
