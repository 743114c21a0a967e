// The whole transformer and autoencoder on a device that has kernels of its own, by the fake device and loops of the
// host in a device's place (tests/testing/host_kernels): the CPU's numbers, nothing crosses over, and every operation
// between matrix products is a kernel.
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <map>
#include <memory>
#include <string>

#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/host_kernels/host_kernels.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;
using ::testing::Contains;
using ::testing::Key;
using ::testing::Not;

const at::Device kFake = fake_device::Device();

double Bound(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-6 : 2e-2; }

void ExpectNothingCrossedOver(const Counts& counts) {
  EXPECT_EQ(counts.uploads, 0);
  EXPECT_EQ(counts.downloads, 0);
  EXPECT_EQ(counts.syncs, 0);
}

class DeviceKernelsModelTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor Random(at::IntArrayRef sizes) { return at::randn(sizes, generator_); }

  std::shared_ptr<const Transformer> LoadTransformer(at::Device device) {
    return Transformer::Load("models/tiny-sd3/transformer", {GetParam(), device}).value();
  }
  TransformerInput Input(const TransformerConfig& config) {
    return {Random({3, config.in_channels, 8, 16}), at::full({1}, 0.7f), Random({1, 40, config.joint_attention_dim}),
            Random({1, config.pooled_projection_dim})};
  }
  static TransformerInput At(at::Device device, const TransformerInput& input) {
    return {input.latents.to(device), input.sigma.to(device), input.prompt_embeds.to(device),
            input.pooled_prompt_embeds.to(device)};
  }

  const HostKernels kernels_;
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(7);
};

TEST_P(DeviceKernelsModelTest, TheTransformerComputesTheSameByFewerOperations) {
  const at::NoGradGuard no_grad;
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(kFake);
  const TransformerInput input = Input(host->config()), there = At(kFake, input);
  TakeCounts();
  HostKernels::TakeCalls();
  const at::Tensor velocity = device->Forward(there, nullptr);
  const Counts counts = TakeCounts();
  ExpectNothingCrossedOver(counts);
  EXPECT_LT(RelativeError(velocity, host->Forward(input, nullptr)), Bound(GetParam()));
  const std::map<std::string, int> calls = HostKernels::TakeCalls();
  for (const char* kernel : {"layer_norm_modulate", "gated_residual", "gelu_tanh", "join_heads"})
    EXPECT_THAT(calls, Contains(Key(kernel)));
  for (const char* replaced : {"aten::native_layer_norm", "aten::gelu.out", "aten::rsqrt.out"})
    EXPECT_THAT(counts.operations, Not(Contains(Key(replaced))));
}

TEST_P(DeviceKernelsModelTest, TrainingComputesTheSameGradient) {
  const auto host = LoadTransformer(at::kCPU), device = LoadTransformer(kFake);
  const auto layout = host->MakeLoraLayout({"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj",
                                            "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"},
                                           16, 32)
                          .value();
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
    EXPECT_LT(RelativeError(velocity[1].detach(), velocity[0].detach()), Bound(GetParam()));
    EXPECT_LT(RelativeError(gradient[1], gradient[0]), 5 * Bound(GetParam())) << checkpointed_blocks;
  }
  const std::map<std::string, int> calls = HostKernels::TakeCalls();
  for (const char* kernel : {"layer_norm_modulate_backward", "gate", "gelu_tanh_backward", "join_heads_backward"})
    EXPECT_THAT(calls, Contains(Key(kernel)));
}

TEST_P(DeviceKernelsModelTest, TheAutoencoderComputesTheSame) {
  const auto host = Vae::Load("models/tiny-sd3/vae", GetParam()).value();
  const auto device = Vae::Load("models/tiny-sd3/vae", {GetParam(), kFake}).value();
  const at::Tensor latents = Random({2, host->config().latent_channels, 8, 16}), there = latents.to(kFake);
  HostKernels::TakeCalls();
  TakeCounts();
  const at::Tensor decoded = device->Decode(there);
  ExpectNothingCrossedOver(TakeCounts());
  EXPECT_LT(RelativeError(decoded, host->Decode(latents)), Bound(GetParam()));
  EXPECT_THAT(HostKernels::TakeCalls(), Contains(Key("group_norm_silu")));
}

INSTANTIATE_TEST_SUITE_P(, DeviceKernelsModelTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace flowawr
