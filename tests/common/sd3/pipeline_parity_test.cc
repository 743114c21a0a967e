// Prompts to embeddings and prompts to pictures, against StableDiffusion3Pipeline on a small random pipeline in the
// published layout: learnt tokenizers of 77 positions, both activations, dual attention, four levels of autoencoder.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/sd3/guidance.h"
#include "common/sd3/pipeline.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/draw_latents.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr char kClass[] = "diffusers StableDiffusion3Pipeline";
constexpr const char* kModels[] = {"model", "model-without-t5"};
constexpr std::pair<const char*, std::pair<int64_t, int64_t>> kSizes[] = {{"16x16", {16, 16}}, {"24x8", {24, 8}}};

class PipelineParityTest : public testing::Test {
 protected:
  // Python makes everything in one run.
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    folder_ = new TempFolder;
    ASSERT_TRUE(WriteSafetensors(*folder_ / "noise", {{"16x16", Noise(16, 16)}, {"24x8", Noise(24, 8)}}).ok());
    ASSERT_TRUE(RunPython("tests/common/sd3/pipeline_reference.py", {folder_->path(), *folder_ / "noise"}));
    const auto document = ReadFile("tests/common/sd3/pipeline_prompts.json");
    ASSERT_TRUE(document.ok()) << document.status();
    prompts_ = nlohmann::json::parse(*document)["prompts"];
    negative_ = nlohmann::json::parse(*document)["negative"];
  }
  static void TearDownTestSuite() { delete folder_; }

  static at::Tensor Noise(int64_t height, int64_t width) {
    std::vector<at::Tensor> rows;
    for (uint32_t i = 0; i < 4; ++i) rows.push_back(InitialNoise(5, 7, i, {16, height, width}));
    return at::stack(rows);
  }

  static std::map<std::string, at::Tensor> Expected(const std::string& name) {
    const auto file = SafetensorsFile::Open(absl::StrCat(*folder_ / name, ".safetensors"));
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
  }

  static std::unique_ptr<Pipeline> Load(const std::string& model, at::ScalarType dtype, int length) {
    auto pipeline =
        Pipeline::Load(*folder_ / model, {.placement = TestPlacement(dtype), .max_sequence_length = length});
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    return pipeline.ok() ? *std::move(pipeline) : nullptr;
  }

  static inline TempFolder* folder_ = nullptr;
  static inline std::vector<std::string> prompts_, negative_;
  const at::NoGradGuard no_grad_;
};

TEST_F(PipelineParityTest, EncodesPromptsAsDiffusersDoes) {
  const char* sizes = "8 prompts, 77, 128 and 256 T5 tokens, and without T5";
  const auto expected = Expected("embeds");
  const auto both = [&](const std::string& name) {
    return at::cat({expected.at(name), expected.at("negative-" + name)});
  };
  std::vector<std::string> all = prompts_;
  all.insert(all.end(), negative_.begin(), negative_.end());
  for (const std::string model : kModels) {
    for (const int length : {77, 128, 256}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        const auto pipeline = Load(model, dtype, length);
        ASSERT_NE(pipeline, nullptr);
        const auto embeds = pipeline->EncodePrompts(all);
        ASSERT_TRUE(embeds.ok()) << embeds.status();
        for (const auto& [key, ours] :
             {std::pair{"embeds", embeds->prompt_embeds}, std::pair{"pooled", embeds->pooled}}) {
          const std::string name = absl::StrCat(model, "/", length, "/", key);
          const at::Tensor exact = both(name);
          EXPECT_EQ(ours.scalar_type(), dtype);
          if (dtype == at::kFloat) {
            ExpectAtMost({"encode_prompt, f32", sizes, kClass}, name, "relative error", RelativeError(ours, exact),
                         1e-4);
          } else {
            ExpectNoFurther({"encode_prompt, bf16", sizes, kClass}, name, RelativeError(ours, exact),
                            RelativeError(both(name + "_bf16"), exact));
          }
        }
      }
    }
  }
}

TEST_F(PipelineParityTest, DrawsFromPromptsAsDiffusersDoes) {
  const char* sizes = "4 prompts with negative ones, 2 sizes, 6 Euler steps, with T5 and without";
  const auto expected = Expected("images");
  for (const std::string model : kModels) {
    const auto pipeline = Load(model, at::kFloat, 128);
    ASSERT_NE(pipeline, nullptr);
    const auto prompts = pipeline->EncodePrompts(prompts_), negative = pipeline->EncodePrompts(negative_);
    ASSERT_TRUE(prompts.ok() && negative.ok()) << prompts.status() << negative.status();
    const auto sigmas = FlowMatchSigmas(6, pipeline->scheduler_shift(), pipeline->num_train_timesteps());
    for (const auto& [size, sides] : kSizes) {
      for (const auto& [scale, part] : {std::pair{"1.0", "Whole pipeline, f32, no guidance"},
                                        std::pair{"4.5", "Whole pipeline, f32, guidance 4.5"}}) {
        const Guidance guidance{std::strtod(scale, nullptr), *negative};
        const ConditionedTransformer velocity(pipeline->transformer(), nullptr, *prompts, guidance);
        const at::Tensor noise = Noise(sides.first, sides.second).to(TestPlacement(at::kFloat).device);
        const at::Tensor latents = DrawLatents(velocity, v1::EULER, sigmas, noise);
        const std::string name = absl::StrCat(model, "/", size, "/", scale);
        const ParityCheck check{part, sizes, kClass};
        ExpectAtMost(check, name, "relative error of the latents",
                     RelativeError(latents, expected.at(name + "/latents")), 1e-4);
        ExpectAtMost(check, name, "largest error of pixels from 0 to 1",
                     (pipeline->vae().Decode(latents).to(at::kCPU) - expected.at(name + "/images"))
                         .abs()
                         .max()
                         .item<double>(),
                     1e-3);
      }
    }
  }
}

}  // namespace
}  // namespace flowawr
