#include "common/sd3/pipeline.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/draw_latents.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kModel[] = "models/tiny-sd3";
const std::vector<std::string> kPrompts = {"a sign that says \"CAT\"", "a sign that says \"DOG\"", "", [] {
                                             std::string text;
                                             for (int i = 0; i < 9; ++i) text += "caf\u00e9 \U0001f600! ";
                                             return text;
                                           }()};

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

at::Tensor Noise() {
  std::vector<at::Tensor> rows;
  for (uint32_t i = 0; i < kPrompts.size(); ++i) rows.push_back(InitialNoise(5, 7, i, {8, 8, 16}));
  return at::stack(rows);
}

// What diffusers makes of the model, the prompts and Noise(): prompt_embeds, pooled and images.
std::map<std::string, at::Tensor> ByDiffusers(const std::vector<std::string>& options) {
  const TempFolder folder;
  EXPECT_TRUE(WriteSafetensors(folder / "noise", {{"noise", Noise()}}).ok());
  std::vector<std::string> arguments = {kModel, folder / "noise", folder / "out"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  EXPECT_TRUE(RunPython("tests/common/sd3/run_pipeline.py", arguments));
  const auto out = SafetensorsFile::Open(folder / "out");
  EXPECT_TRUE(out.ok()) << out.status();
  return out.ok() ? out->tensors() : std::map<std::string, at::Tensor>();
}

// Loads the pipeline of `folder` and compares its embeddings and the images it draws.
void ExpectTheSame(const std::string& folder, const std::map<std::string, at::Tensor>& expected) {
  const at::NoGradGuard no_grad;
  ASSERT_TRUE(expected.contains("images"));
  const auto pipeline = Pipeline::Load(folder, {.placement = at::kFloat, .max_sequence_length = 32});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const auto embeds = (*pipeline)->EncodePrompts(kPrompts);
  ASSERT_TRUE(embeds.ok()) << embeds.status();
  ASSERT_EQ(embeds->prompt_embeds.sizes(), expected.at("prompt_embeds").sizes());
  EXPECT_LT(RelativeError(embeds->prompt_embeds, expected.at("prompt_embeds")), 1e-4);
  EXPECT_LT(RelativeError(embeds->pooled, expected.at("pooled")), 1e-4);

  const auto velocity = [&](const at::Tensor& latents, float sigma) {
    return (*pipeline)->transformer().Forward({latents, at::full({1}, sigma), embeds->prompt_embeds, embeds->pooled},
                                              nullptr);
  };
  const auto sigmas = FlowMatchSigmas(8, (*pipeline)->scheduler_shift(), (*pipeline)->num_train_timesteps());
  const at::Tensor images = (*pipeline)->vae().Decode(DrawLatents(velocity, v1::EULER, sigmas, Noise()));
  const double mse = (images - expected.at("images")).square().mean().item<double>();
  EXPECT_GT(-10 * std::log10(mse), 45);
}

TEST(PipelineTest, EncodesAndDrawsAsDiffusersDoes) { ExpectTheSame(kModel, ByDiffusers({})); }

TEST(PipelineTest, DoesWithoutTheThirdTextEncoderAsDiffusersDoes) {
  const TempFolder folder;
  nlohmann::json index = nlohmann::json::parse(std::ifstream(std::string(kModel) + "/model_index.json"));
  for (const auto& entry : std::filesystem::directory_iterator(kModel)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name != "text_encoder_3" && name != "tokenizer_3")
      std::filesystem::create_directory_symlink(std::filesystem::absolute(entry.path()), folder / name);
  }
  for (const char* absent : {"text_encoder_3", "tokenizer_3"}) index[absent] = {nullptr, nullptr};
  folder.Write("model_index.json", index.dump());
  ExpectTheSame(folder.path(), ByDiffusers({"--without-t5"}));
}

TEST(PipelineTest, RefusesNoPromptsAndPromptsThatAreNotText) {
  const auto pipeline = Pipeline::Load(kModel, {.placement = at::kFloat, .max_sequence_length = 32});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_EQ((*pipeline)->EncodePrompts({}).status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status status = (*pipeline)->EncodePrompts({"a cat", "\xff\xfe"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("prompt 1"));
}

TEST(PipelineTest, RefusesASequenceLengthOutOfRange) {
  for (const int length : {0, -1, 513}) {
    const absl::Status status = Pipeline::Load(kModel, {.max_sequence_length = length}).status();
    EXPECT_THAT(status.message(), HasSubstr("expected 1 to 512")) << length;
  }
}

TEST(PipelineTest, SaysWhatIsMissing) {
  const TempFolder folder;
  for (const std::string& path : {folder / "none", folder.path()}) {
    const absl::Status missing = Pipeline::Load(path, {}).status();
    EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(missing.message(), AllOf(HasSubstr(path), HasSubstr("The embedded model is models/tiny-sd3")));
  }
  folder.Write("model_index.json", R"({"_class_name": "StableDiffusion3Pipeline", "vae": ["diffusers", "Other"]})");
  const absl::Status status = Pipeline::Load(folder.path(), {}).status();
  for (const char* part :
       {"tokenizer is missing", "text_encoder_2 is missing", "transformer is missing", "vae is a Other"})
    EXPECT_THAT(status.message(), HasSubstr(part));
}

}  // namespace
}  // namespace flowawr
