#include "common/sd3/guidance.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/diffusion/sigmas.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/draw_latents.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

class GuidanceTest : public testing::Test {
 protected:
  // Python makes everything in one run.
  static void SetUpTestSuite() {
    const TempFolder folder;
    ASSERT_TRUE(RunPython("tests/common/sd3/guidance_reference.py", {folder.path()}));
    const auto file = SafetensorsFile::Open(folder / "cases.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    tensors_ = file->tensors();
    const auto transformer = Transformer::Load(folder / "transformer", at::kFloat);
    ASSERT_TRUE(transformer.ok()) << transformer.status();
    transformer_ = *transformer;
  }
  static void TearDownTestSuite() { transformer_ = nullptr; }
  void SetUp() override { ASSERT_NE(transformer_, nullptr); }
  void TearDown() override { at::set_num_threads(1); }

  PromptEmbeds Prompt() const { return {tensors_.at("prompt_embeds"), tensors_.at("pooled_prompt_embeds")}; }
  PromptEmbeds Negative() const {
    return {tensors_.at("negative_prompt_embeds"), tensors_.at("negative_pooled_prompt_embeds")};
  }
  at::Tensor Draw(const PromptEmbeds& prompt, const Guidance& guidance, const at::Tensor& noise) const {
    return DrawLatents(ConditionedTransformer(*transformer_, nullptr, prompt, guidance), v1::EULER,
                         FlowMatchSigmas(5, 3.0, 1000), noise);
  }

  inline static std::map<std::string, at::Tensor> tensors_;
  inline static std::shared_ptr<const Transformer> transformer_;
  const at::NoGradGuard no_grad_;
};

// The sizes take different pieces of the position table, up to its whole height and width.
TEST_F(GuidanceTest, DrawsAtAnySizeAndScaleAsDiffusersDoes) {
  for (const int threads : {1, 2}) {  // our kernels, LibTorch's attention
    at::set_num_threads(threads);
    for (const char* size : {"8x8", "16x24", "40x4", "6x40", "32x34"}) {
      const at::Tensor& noise = tensors_.at(absl::StrCat(size, "/noise"));
      EXPECT_LT(RelativeError(Draw(Prompt(), {}, noise), tensors_.at(absl::StrCat(size, "/1.0"))), 1e-4) << size;
      EXPECT_LT(RelativeError(Draw(Prompt(), {4.5, Negative()}, noise), tensors_.at(absl::StrCat(size, "/4.5"))), 1e-4)
          << size;
    }
  }
}

TEST_F(GuidanceTest, SharesOneRowAmongAllImages) {
  const auto first = [](const PromptEmbeds& embeds) {
    return PromptEmbeds{embeds.prompt_embeds.narrow(0, 0, 1), embeds.pooled.narrow(0, 0, 1)};
  };
  const auto repeated = [&](const PromptEmbeds& embeds) {
    return PromptEmbeds{first(embeds).prompt_embeds.repeat({2, 1, 1}), first(embeds).pooled.repeat({2, 1})};
  };
  const at::Tensor& noise = tensors_.at("8x8/noise");
  EXPECT_TRUE(Draw(first(Prompt()), {3, first(Negative())}, noise)
                  .equal(Draw(repeated(Prompt()), {3, repeated(Negative())}, noise)));
}

TEST_F(GuidanceTest, GivesAnImageTheSameBitsInAnyBatch) {
  const at::Tensor& noise = tensors_.at("16x24/noise");
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const at::Tensor together = Draw(Prompt(), {4.5, Negative()}, noise);
    for (const int64_t i : {0, 1}) {
      const auto row = [&](const PromptEmbeds& embeds) {
        return PromptEmbeds{embeds.prompt_embeds.narrow(0, i, 1), embeds.pooled.narrow(0, i, 1)};
      };
      EXPECT_TRUE(Draw(row(Prompt()), {4.5, row(Negative())}, noise.narrow(0, i, 1)).equal(together.narrow(0, i, 1)));
    }
  }
}

TEST_F(GuidanceTest, OfScaleOneNeedsNoNegativePrompt) {
  const at::Tensor& noise = tensors_.at("8x8/noise");
  EXPECT_TRUE(Draw(Prompt(), {1, Negative()}, noise).equal(Draw(Prompt(), {}, noise)));
}

}  // namespace
}  // namespace flowawr
