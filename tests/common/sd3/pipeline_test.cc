#include "common/sd3/pipeline.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <cmath>

#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/diffusion/solver.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

constexpr char kModel[] = "models/tiny-sd3";
const std::vector<std::string> kPrompts = {"a sign that says \"CAT\"", "a sign that says \"DOG\"", "",
                                           [] {
                                             std::string text;
                                             for (int i = 0; i < 9; ++i) text += "caf\u00e9 \U0001f600! ";
                                             return text;
                                           }()};

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

TEST(PipelineTest, EncodesAndDrawsAsDiffusersDoes) {
  const at::NoGradGuard no_grad;
  const TempFolder folder;
  std::vector<at::Tensor> rows;
  for (uint32_t i = 0; i < kPrompts.size(); ++i) rows.push_back(InitialNoise(5, 7, i, {8, 8, 16}));
  const at::Tensor noise = at::stack(rows);
  ASSERT_TRUE(WriteSafetensors(folder / "noise", {{"noise", noise}}).ok());
  ASSERT_TRUE(RunPython("tests/common/sd3/run_pipeline.py", {kModel, folder / "noise", folder / "out"}));
  const auto expected = SafetensorsFile::Open(folder / "out");
  ASSERT_TRUE(expected.ok()) << expected.status();

  const auto pipeline = Pipeline::Load(kModel, {.dtype = at::kFloat, .max_sequence_length = 32});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  const auto embeds = (*pipeline)->EncodePrompts(kPrompts);
  ASSERT_TRUE(embeds.ok()) << embeds.status();
  EXPECT_LT(RelativeError(embeds->prompt_embeds, expected->tensors().at("prompt_embeds")), 1e-4);
  EXPECT_LT(RelativeError(embeds->pooled, expected->tensors().at("pooled")), 1e-4);

  const auto velocity = [&](const at::Tensor& latents, float sigma) {
    return (*pipeline)->transformer().Forward(
        {latents, at::full({1}, sigma), embeds->prompt_embeds, embeds->pooled}, nullptr);
  };
  const auto sigmas = FlowMatchSigmas(8, (*pipeline)->scheduler_shift(), (*pipeline)->num_train_timesteps());
  const at::Tensor images = (*pipeline)->vae().Decode(SampleLatents(velocity, v1::EULER, sigmas, noise));
  const double mse = (images - expected->tensors().at("images")).square().mean().item<double>();
  EXPECT_GT(-10 * std::log10(mse), 45);
}

TEST(PipelineTest, SaysWhatIsMissing) {
  const TempFolder folder;
  folder.Write("model_index.json", R"({"_class_name": "StableDiffusion3Pipeline", "vae": ["diffusers", "Other"]})");
  const absl::Status status = Pipeline::Load(folder.path(), {}).status();
  for (const char* part : {"tokenizer is missing", "text_encoder_2 is missing", "transformer is missing", "vae is a Other"})
    EXPECT_THAT(status.message(), HasSubstr(part));
}

}  // namespace
}  // namespace flowawr
