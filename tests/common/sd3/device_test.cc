// The models on a device that is not the CPU, by default the pretend one (tests/testing/test_device.h): the same
// numbers, and nothing crosses over while they compute.
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/guidance.h"
#include "common/sd3/pipeline.h"
#include "common/sd3/text_encoders.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/tensor/image_tensor.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;

constexpr char kModel[] = "models/tiny-sd3";

// What f32 and bfloat16 may differ by between kernels of ours and LibTorch's.
double Bound(at::ScalarType dtype) { return DeviceBound(dtype, dtype == at::kFloat ? 2e-6 : 2e-2); }

void ExpectNothingCrossedOver(const Counts& counts) {
  if (!fake_device::IsThere()) return;
  EXPECT_EQ(counts.uploads, 0);
  EXPECT_EQ(counts.downloads, 0);
  EXPECT_EQ(counts.syncs, 0);
  EXPECT_GT(counts.operations.size(), 5u);
}

TransformerInput At(at::Device device, const TransformerInput& input) {
  return {input.latents.to(device), input.sigma.to(device), input.prompt_embeds.to(device),
          input.pooled_prompt_embeds.to(device)};
}

class DeviceTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor Random(at::IntArrayRef sizes) { return at::randn(sizes, generator_); }

  std::shared_ptr<const Transformer> LoadTransformer(at::Device device) {
    return Transformer::Load(std::string(kModel) + "/transformer", {GetParam(), device}).value();
  }
  TransformerInput Input(const TransformerConfig& config) {
    return {Random({3, config.in_channels, 8, 16}), at::full({1}, 0.7f), Random({1, 40, config.joint_attention_dim}),
            Random({1, config.pooled_projection_dim})};
  }
  static std::shared_ptr<const LoraLayout> Layout(const Transformer& transformer) {
    return transformer
        .MakeLoraLayout({"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj",
                         "attn.add_v_proj", "attn.to_add_out"},
                        16, 32)
        .value();
  }

  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(7);
};

TEST_P(DeviceTest, TheTransformerComputesTheSameAndNothingCrossesOver) {
  const at::NoGradGuard no_grad;
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(TestDevice());
  EXPECT_EQ(device->placement().device, TestDevice());
  EXPECT_EQ(device->placement().dtype, GetParam());
  EXPECT_EQ(device->fingerprint(), host->fingerprint());
  const TransformerInput input = Input(host->config()), there = At(TestDevice(), input);
  TakeCounts();
  const at::Tensor velocity = device->Forward(there, nullptr);
  ExpectNothingCrossedOver(TakeCounts());
  ExpectClose("velocity", velocity, host->Forward(input, nullptr), Bound(GetParam()));
}

TEST_P(DeviceTest, ABatchTakesAsManyOperationsAsOneSample) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "operations are counted on the pretend device";
  const at::NoGradGuard no_grad;
  const auto device = LoadTransformer(TestDevice());
  const TransformerConfig& config = device->config();
  std::map<std::string, int64_t> operations[2];
  for (const int64_t batch : {1, 24}) {
    const TransformerInput input =
        At(TestDevice(),
           {Random({batch, config.in_channels, 8, 16}), Random({batch}).abs(),
            Random({batch, 40, config.joint_attention_dim}), Random({batch, config.pooled_projection_dim})});
    TakeCounts();
    device->Forward(input, nullptr);
    operations[batch > 1] = TakeCounts().operations;
  }
  EXPECT_EQ(operations[1], operations[0]);
}

TEST_P(DeviceTest, AMergedAdapterIsUploadedOnce) {
  const at::NoGradGuard no_grad;
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(TestDevice());
  const auto layout = Layout(*host);
  const LoraAdapter adapter(layout, Random({layout->size()}).mul_(0.02));
  TakeCounts();
  const BoundAdapter there = device->BindMerged(adapter).value();
  const Counts binding = TakeCounts();
  if (fake_device::IsThere()) {
    EXPECT_EQ(binding.uploads, 1);
    EXPECT_EQ(binding.uploaded_bytes, layout->size() * 4);
    EXPECT_EQ(binding.downloads + binding.syncs, 0);
  }
  const TransformerInput input = Input(host->config()), input_there = At(TestDevice(), input);
  TakeCounts();
  const at::Tensor velocity = device->Forward(input_there, &there);
  ExpectNothingCrossedOver(TakeCounts());
  const BoundAdapter here = host->BindMerged(adapter).value();
  ExpectClose("velocity", velocity, host->Forward(input, &here), Bound(GetParam()));
}

TEST_P(DeviceTest, AnImportedAdapterIsMergedThereFromItsOwnMatrices) {
  const at::NoGradGuard no_grad;
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(TestDevice());
  const int64_t dim = host->config().inner_dim();
  const ImportedLora adapter = {.source = "an adapter", .modules = {{.name = "transformer_blocks.0.attn.to_k",
                                                                     .A = Random({4, dim}).mul_(0.1),
                                                                     .B = Random({dim, 4}).mul_(0.1),
                                                                     .alpha = 4}}};
  TakeCounts();
  const BoundAdapter there = device->BindMerged({{&adapter, 0.5}}).value();
  const Counts binding = TakeCounts();
  if (fake_device::IsThere()) {
    EXPECT_EQ(binding.uploaded_bytes, 2 * 4 * dim * 4);
    EXPECT_EQ(binding.downloads + binding.syncs, 0);
  }
  const TransformerInput input = Input(host->config());
  const BoundAdapter here = host->BindMerged({{&adapter, 0.5}}).value();
  ExpectClose("velocity", device->Forward(At(TestDevice(), input), &there), host->Forward(input, &here),
              Bound(GetParam()));
}

TEST_P(DeviceTest, TrainingComputesTheSameGradientAndNothingCrossesOver) {
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(TestDevice());
  const auto layout = Layout(*host);
  const at::Tensor flat = Random({layout->size()}).mul_(0.02);
  const TransformerInput input = Input(host->config());
  for (const int64_t checkpointed_blocks : {0, 2}) {
    at::Tensor velocity[2], gradient[2];
    for (const bool is_there : {false, true}) {
      const auto& transformer = is_there ? *device : *host;
      const at::Device place = transformer.placement().device;
      const at::Tensor leaf = flat.to(place).clone().requires_grad_();
      const BoundAdapter bound = transformer.Bind(LoraAdapter(layout, leaf)).value();
      const TransformerInput placed = At(place, input);
      TakeCounts();
      velocity[is_there] = transformer.Forward(placed, &bound, checkpointed_blocks);
      gradient[is_there] = torch::autograd::grad({velocity[is_there].square().sum()}, {leaf})[0];
      if (is_there) ExpectNothingCrossedOver(TakeCounts());
    }
    const std::string how = absl::StrCat("_with_", checkpointed_blocks, "_blocks_checkpointed");
    ExpectClose("velocity" + how, velocity[1], velocity[0], Bound(GetParam()));
    ExpectClose("gradient" + how, gradient[1], gradient[0], 5 * Bound(GetParam()));
  }
}

TEST_P(DeviceTest, DecodesTheSamePicturesAndDownloadsBytes) {
  const auto host = Vae::Load(std::string(kModel) + "/vae", GetParam()).value();
  const auto device = Vae::Load(std::string(kModel) + "/vae", {GetParam(), TestDevice()}).value();
  const at::Tensor latents = Random({2, host->config().latent_channels, 8, 16}), there = latents.to(TestDevice());
  TakeCounts();
  const at::Tensor decoded = device->Decode(there);
  ExpectNothingCrossedOver(TakeCounts());
  ExpectClose("pixels", decoded, host->Decode(latents), Bound(GetParam()));
  TakeCounts();
  const std::vector<Image> images = ImagesFromTensor(decoded);
  const Counts counts = TakeCounts();
  EXPECT_EQ(images.size(), 2u);
  if (!fake_device::IsThere()) return;
  EXPECT_EQ(counts.downloads, 1);
  EXPECT_EQ(counts.downloaded_bytes, decoded.numel()) << "a byte a colour of a pixel";
  EXPECT_EQ(counts.uploads + counts.syncs, 0);
}

TEST_P(DeviceTest, EncodesTheSameImages) {
  const auto host = Vae::Load(std::string(kModel) + "/vae", GetParam()).value();
  const auto device = Vae::Load(std::string(kModel) + "/vae", {GetParam(), TestDevice()}).value();
  const at::Tensor images = at::rand({2, 3, 32, 64}, generator_);
  ExpectClose("latents", device->EncodeMean(images.to(TestDevice())), host->EncodeMean(images), 4 * Bound(GetParam()));
}

TEST_P(DeviceTest, TextEncodersReadPromptsFromTheHostAndGiveEmbeddingsBack) {
  const std::vector<std::string> prompts = {"a sign that reads \"cat\"", "two signs"};
  const TextEncoders::Options options = {.placement = GetParam(), .max_sequence_length = 12};
  TextEncoders::Options there = options;
  there.placement.device = TestDevice();
  const PromptEmbeds wanted = TextEncoders::Load(kModel, options).value()->EncodePrompts(prompts).value();
  const auto encoders = TextEncoders::Load(kModel, there).value();
  const PromptEmbeds got = encoders->EncodePrompts(prompts).value();
  EXPECT_TRUE(got.prompt_embeds.is_cpu());
  TakeCounts();
  encoders->EncodePrompts(prompts).value();
  const Counts counts = TakeCounts();
  if (fake_device::IsThere()) {
    EXPECT_EQ(counts.uploads, 3) << "the tokens for each encoder; T5's positions are there";
    EXPECT_EQ(counts.downloads, 2);
    EXPECT_EQ(counts.syncs, 0);
  }
  ExpectClose("prompt_embeds", got.prompt_embeds, wanted.prompt_embeds, 3 * Bound(GetParam()));
  ExpectClose("pooled", got.pooled, wanted.pooled, 3 * Bound(GetParam()));
}

TEST_P(DeviceTest, SamplingWithGuidanceAndNoiseUploadsNoiseAndNothingElse) {
  const at::NoGradGuard no_grad;
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(TestDevice());
  const TransformerInput input = Input(host->config());
  const PromptEmbeds prompt = {input.prompt_embeds, input.pooled_prompt_embeds};
  const PromptEmbeds negative = {Random(prompt.prompt_embeds.sizes()), Random(prompt.pooled.sizes())};
  v1::StochasticSteps stochastic;
  stochastic.set_kind(v1::FLOW_SDE);
  stochastic.set_noise_level(0.7);
  stochastic.set_first(1);
  stochastic.set_count(2);
  const SamplerPlan plan{.solver = v1::EULER, .sigmas = FlowMatchSigmas(5, 3.0, 1000), .stochastic = stochastic};
  std::vector<at::Tensor> step_noise;
  for (int step = 0; step < 5; ++step) step_noise.push_back(Random(input.latents.sizes()));
  std::vector<Sampled> sampled;
  for (const auto& transformer : {host, device}) {
    const at::Device place = transformer->placement().device;
    const at::Tensor noise = input.latents.to(place);
    const ConditionedTransformer velocity(*transformer, nullptr, prompt, {.scale = 2, .negative = negative});
    TakeCounts();
    sampled.push_back(Sample(
                          plan, noise, velocity, [&](int step) { return step_noise[step].to(place); },
                          [](int) { return true; })
                          .value());
    const Counts counts = TakeCounts();
    if (place == TestDevice() && fake_device::IsThere()) {
      EXPECT_EQ(counts.uploads, 2) << "the noise of two steps";
      EXPECT_EQ(counts.downloads + counts.syncs, 0);
    }
  }
  const double bound = 3 * Bound(GetParam());
  ExpectClose("latents", sampled[1].latents, sampled[0].latents, bound);
  ExpectClose("states", sampled[1].trajectory->states, sampled[0].trajectory->states, bound);
  ExpectClose("log_probs", sampled[1].trajectory->log_probs, sampled[0].trajectory->log_probs, bound);
}

INSTANTIATE_TEST_SUITE_P(, DeviceTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace flowawr
