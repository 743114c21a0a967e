// Parity at the sizes of Stable Diffusion 3.5 Medium, on random weights; labelled `slow`.
//
// One side at a time holds a model: Python first, which writes its results to files and ends, then we. The weights
// (8 GB) are made once, by tools/random_pipeline.py, in full-size/ of the build folder; FLOWAWR_FULL_SIZE_MODEL names
// such a folder made before.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr double kTolerance = 1e-4;  // relative, f32

const std::string& Model() {
  static const std::string folder = [] {
    if (const char* made = std::getenv("FLOWAWR_FULL_SIZE_MODEL")) return std::string(made);
    const char* build = std::getenv("FLOWAWR_BUILD_DIR");
    return absl::StrCat(build == nullptr ? "build" : build, "/full-size");
  }();
  static const bool is_there = [] {
    if (std::filesystem::exists(folder + "/model_index.json")) return true;  // written last
    const auto made = RunPython("tools/random_pipeline.py", {folder});
    EXPECT_TRUE(made);
    return static_cast<bool>(made);
  }();
  EXPECT_TRUE(is_there);
  return folder;
}

// The most memory this process has had since the last call, in GB.
double PeakMemory() {
  double kilobytes = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "VmHWM:")) kilobytes = std::strtod(line.c_str() + 6, nullptr);
  }
  std::ofstream("/proc/self/clear_refs") << "5";
  return kilobytes / 1e6;
}

class FullSizeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    results_ = new TempFolder;
    at::set_num_threads(2);
  }
  static void TearDownTestSuite() { delete results_; }
  void SetUp() override { PeakMemory(); }
  void TearDown() override { std::cout << "our peak memory: " << PeakMemory() << " GB\n"; }

  static void Compute(const std::string& part) {
    ASSERT_TRUE(RunPython("tests/common/sd3/full_size_reference.py", {part, Model(), results_->path()}));
  }
  static std::map<std::string, at::Tensor> Read(const std::string& name) {
    const auto file = SafetensorsFile::Open(absl::StrCat(*results_ / name, ".safetensors"));
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
  }
  static ParityCheck Check(const std::string& part, const std::string& sizes, const std::string& against) {
    return {part, sizes, against, /*is_slow=*/true};
  }

  static inline TempFolder* results_ = nullptr;
};

constexpr char kTransformer[] = "24 layers, 1536 wide, 13 dual; 512x512 pixels, 333 text tokens";
constexpr char kTransformerClass[] = "diffusers SD3Transformer2DModel";
constexpr char kAdapted[] = "the same with a peft adapter of rank 32";

struct TransformerResults {
  at::Tensor velocity;
  at::Tensor adapted;
  LoraAdapter gradient;
  LoraAdapter expected;       // peft's, f32
  LoraAdapter expected_bf16;  // peft's with a bf16 base; only for bf16
};

class FullSizeTransformerTest : public FullSizeTest {
 protected:
  static TransformerResults Run(at::ScalarType dtype, const std::map<std::string, at::Tensor>& input) {
    const auto transformer = Transformer::Load(Model() + "/transformer", dtype);
    EXPECT_TRUE(transformer.ok()) << transformer.status();
    const TransformerInput in{input.at("latents"), input.at("sigma"), input.at("prompt_embeds"),
                              input.at("pooled_prompt_embeds")};
    at::Tensor velocity;
    {
      const at::NoGradGuard no_grad;
      velocity = (*transformer)->Forward(in, nullptr);
    }
    const auto layout = (*transformer)
                            ->MakeLoraLayout({"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj",
                                              "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"},
                                             32, 64);
    EXPECT_TRUE(layout.ok()) << layout.status();
    const auto parse = [&](const std::string& name) {
      auto adapter = LoraAdapter::ParsePeft(*ReadFile(absl::StrCat(*results_ / name, ".safetensors")), *layout);
      EXPECT_TRUE(adapter.ok()) << adapter.status();
      return *std::move(adapter);
    };
    const LoraAdapter leaf(*layout, parse("adapter").flat().clone().requires_grad_(true));
    const BoundAdapter bound = *(*transformer)->Bind(leaf);
    const at::Tensor adapted = (*transformer)->Forward(in, &bound, (*transformer)->config().num_layers);
    (adapted * input.at("loss_weight")).sum().backward();
    return {velocity, adapted.detach(), LoraAdapter(*layout, leaf.flat().grad()), parse("gradients"),
            parse(dtype == at::kFloat ? "gradients" : "gradients_bf16")};
  }
};

TEST_F(FullSizeTransformerTest, MatchesDiffusersAndPeft) {
  Compute("transformer-f32");
  const auto expected = Read("transformer");
  const TransformerResults ours = Run(at::kFloat, expected);
  ExpectAtMost(Check("Transformer, f32", kTransformer, kTransformerClass), "sd35-medium", "relative error",
               RelativeError(ours.velocity, expected.at("reference")), kTolerance);
  ExpectAtMost(Check("Transformer with LoRA, f32", kTransformer, kAdapted), "sd35-medium", "relative error",
               RelativeError(ours.adapted, expected.at("adapted")), kTolerance);
  double worst = 1;
  for (size_t i = 0; i < ours.gradient.layout().modules.size(); ++i) {
    worst = std::min(
        {worst, Cosine(ours.gradient.A(i), ours.expected.A(i)), Cosine(ours.gradient.B(i), ours.expected.B(i))});
  }
  EXPECT_EQ(ours.gradient.layout().modules.size(), 191);
  ExpectAtLeast(Check("Gradients of all LoRA matrices, f32", kTransformer, kAdapted), "sd35-medium",
                "cosine of the worst matrix", worst, 0.9999);
  ExpectAtMost(Check("Gradients of all LoRA matrices, f32", kTransformer, kAdapted), "sd35-medium",
               "relative error of all", RelativeError(ours.gradient.flat(), ours.expected.flat()), kTolerance);
}

// After the test in f32, whose inputs and results it takes.
TEST_F(FullSizeTransformerTest, IsInLowPrecisionNoFurtherOffThanDiffusersAndPeft) {
  if (!std::filesystem::exists(*results_ / "transformer.safetensors")) Compute("transformer-f32");
  Compute("transformer-bf16");
  const auto exact = Read("transformer"), theirs = Read("transformer_bf16");
  const TransformerResults ours = Run(at::kBFloat16, exact);
  const auto expect_no_further = [&](const ParityCheck& check, const at::Tensor& low, const char* name) {
    ExpectNoFurther(check, "sd35-medium", RelativeError(low, exact.at(name)),
                    RelativeError(theirs.at(name), exact.at(name)));
  };
  expect_no_further(Check("Transformer, bf16", kTransformer, kTransformerClass), ours.velocity, "reference");
  expect_no_further(Check("Transformer with LoRA, bf16", kTransformer, kAdapted), ours.adapted, "adapted");
  const at::Tensor right = ours.expected.flat();
  const ParityCheck gradients = Check("Gradient of LoRA, bf16 base", kTransformer, kAdapted);
  ExpectNoFurther(gradients, "sd35-medium", RelativeError(ours.gradient.flat(), right),
                  RelativeError(ours.expected_bf16.flat(), right));
  ExpectAtLeast(gradients, "sd35-medium", "cosine with the f32 gradient, less theirs",
                Cosine(ours.gradient.flat(), right) - Cosine(ours.expected_bf16.flat(), right), -1e-3);
}

TEST_F(FullSizeTest, VaeMatchesDiffusers) {
  Compute("vae");
  const auto expected = Read("vae");
  const auto check = [&](const char* part) {
    return Check(part, "128 to 512 channels, 16 latent channels; 512x512 pixels", "diffusers AutoencoderKL");
  };
  const auto distance = [&](const at::Tensor& x, const char* exact) { return RelativeError(x, expected.at(exact)); };
  {
    const auto vae = Vae::Load(Model() + "/vae", at::kFloat);
    ASSERT_TRUE(vae.ok()) << vae.status();
    ExpectAtMost(check("VAE decode, f32"), "sd35", "relative error",
                 distance((*vae)->Decode(expected.at("latents")), "decoded"), kTolerance);
    ExpectAtMost(check("VAE encode, f32"), "sd35", "relative error",
                 distance((*vae)->EncodeMean(expected.at("images")), "mean"), kTolerance);
  }
  const auto vae = Vae::Load(Model() + "/vae", at::kBFloat16);
  ASSERT_TRUE(vae.ok()) << vae.status();
  ExpectNoFurther(check("VAE decode, bf16"), "sd35", distance((*vae)->Decode(expected.at("latents")), "decoded"),
                  distance(expected.at("decoded_bf16"), "decoded"));
  ExpectNoFurther(check("VAE encode, bf16"), "sd35", distance((*vae)->EncodeMean(expected.at("images")), "mean"),
                  distance(expected.at("mean_bf16"), "mean"));
}

TEST_F(FullSizeTest, ClipMatchesTransformers) {
  Compute("clip");
  const std::pair<const char*, const char*> parts[] = {
      {"text_encoder", "CLIP-L: 12 layers, 768 wide, 77 tokens"},
      {"text_encoder_2", "CLIP bigG: 32 layers, 1280 wide, 77 tokens"}};
  for (const auto& [part, sizes] : parts) {
    const auto expected = Read(part);
    const std::string name = part, size = sizes;
    const auto compare = [&](at::ScalarType dtype) {
      const auto encoder = ClipTextEncoder::Load(absl::StrCat(Model(), "/", name), dtype);
      ASSERT_TRUE(encoder.ok()) << encoder.status();
      const ClipTextEncoder::Output output = (*encoder)->Forward(expected.at("ids"));
      for (const auto& [key, ours] : {std::pair{"hidden", output.hidden}, std::pair{"pooled", output.pooled}}) {
        const std::string what = absl::StrCat("CLIP ", key, key[0] == 'h' ? " states" : " output");
        const char* theirs = "transformers CLIPTextModelWithProjection";
        const double error = RelativeError(ours, expected.at(key));
        if (dtype == at::kFloat) {
          ExpectAtMost(Check(what + ", f32", size, theirs), name, "relative error", error, kTolerance);
        } else {
          ExpectNoFurther(Check(what + ", bf16", size, theirs), name, error,
                          RelativeError(expected.at(absl::StrCat(key, "_bf16")), expected.at(key)));
        }
      }
    };
    compare(at::kFloat);
    compare(at::kBFloat16);
  }
}

TEST_F(FullSizeTest, T5MatchesTransformers) {
  Compute("t5");
  const auto expected = Read("text_encoder_3");
  const auto check = [](const char* part) {
    return Check(part, "T5-XXL of 4 layers: 4096 wide, 256 tokens", "transformers T5EncoderModel");
  };
  const auto distance = [&](at::ScalarType dtype) {
    const auto encoder = T5Encoder::Load(Model() + "/text_encoder_3", dtype);
    EXPECT_TRUE(encoder.ok()) << encoder.status();
    return RelativeError((*encoder)->Forward(expected.at("ids")), expected.at("hidden"));
  };
  ExpectAtMost(check("T5 hidden states, f32"), "t5-xxl", "relative error", distance(at::kFloat), kTolerance);
  ExpectNoFurther(check("T5 hidden states, bf16"), "t5-xxl", distance(at::kBFloat16),
                  RelativeError(expected.at("hidden_bf16"), expected.at("hidden")));
}

}  // namespace
}  // namespace flowawr
