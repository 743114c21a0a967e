// Adapters of peft, diffusers and published trainers in our transformer, against what peft and diffusers compute.
#include "common/nn/lora_import.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/sd3/transformer.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

const std::string kCases[] = {"peft_plain",
                              "peft_rslora",
                              "peft_bf16",
                              "peft_f16",
                              "peft_pattern_of_targets",
                              "peft_all_linear",
                              "peft_every_layer",
                              "peft_ranks_and_alphas",
                              "peft_file",
                              "peft_named",
                              "flowawr",
                              "diffusion_nft",
                              "diffusion_nft_old",
                              "flow_grpo_gardo",
                              "diffusers",
                              "diffusers_folder",
                              "diffusers_metadata",
                              "diffusers_metadata_folder",
                              "diffusers_model",
                              "diffusers_down_up",
                              "diffusers_processors",
                              "diffusers_ranks",
                              "alphas",
                              "wrapped_comfyui",
                              "wrapped_comfyui_model",
                              "wrapped_compiled",
                              "wrapped_compiled_pipeline",
                              "wrapped_compiled_blocks",
                              "wrapped_distributed",
                              "wrapped_distributed_compiled",
                              "wrapped_fsdp",
                              "wrapped_bare",
                              "wrapped_model",
                              "wrapped_kohya",
                              "wrapped_onetrainer",
                              "wrapped_peft"};
constexpr double kTolerance = 1e-5;  // relative, f32

// Python makes all of it in one run, before the first test that needs it.
const std::string& Root() {
  static const TempFolder folder;
  static const bool is_made =
      static_cast<bool>(RunPython("tests/common/sd3/lora_import_reference.py", {folder.path()}));
  EXPECT_TRUE(is_made) << "the script's output says why";
  return folder.path();
}

const Transformer& Model() {
  static const auto model = Transformer::Load(Root() + "/transformer", at::kFloat).value();
  return *model;
}

at::Tensor Velocity(const Transformer& transformer, const BoundAdapter* adapter) {
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  const auto tensors = SafetensorsFile::Open(Root() + "/input.safetensors")->tensors();
  return transformer.Forward(
      {tensors.at("latents"), tensors.at("sigma"), tensors.at("prompt_embeds"), tensors.at("pooled_prompt_embeds")},
      adapter);
}

// What peft or diffusers made of one case.
struct Expected {
  explicit Expected(const std::string& name) {
    const auto file = SafetensorsFile::Open(absl::StrCat(Root(), "/", name, ".safetensors"));
    EXPECT_TRUE(file.ok()) << file.status();
    velocity = file->tensors().at("velocity");
    path = file->metadata().at("path");
  }

  at::Tensor velocity;
  std::string path;
};

class LoraImportParityTest : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Cases, LoraImportParityTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param; });

TEST_P(LoraImportParityTest, ComputesWhatPeftOrDiffusersCompute) {
  const ParityCheck check{"Imported LoRA, merged, f32",
                          "3 blocks, 37 adapters in the forms of peft, diffusers and trainers",
                          "the same file in peft or diffusers"};
  const Expected expected(GetParam());
  const auto lora = ReadLora(expected.path);
  ASSERT_TRUE(lora.ok()) << lora.status();
  const auto bound = Model().BindMerged({{&*lora}});
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->modules(), static_cast<int64_t>(lora->modules.size()));
  const at::Tensor velocity = Velocity(Model(), &*bound);
  ExpectAtMost(check, GetParam(), "relative error", RelativeError(velocity, expected.velocity), kTolerance);
  EXPECT_GT(RelativeError(Velocity(Model(), nullptr), expected.velocity), 100 * kTolerance) << "it does nothing";
}

TEST(LoraImportTest, SeveralAdaptersAddUpEachWithItsScale) {
  const ParityCheck check{"Two LoRA, merged, f32", "3 blocks, ranks 3 and 5, some modules in both",
                          "diffusers' set_adapters with weights"};
  const Expected expected("several");
  const auto first = ReadLora(expected.path + "/first"), second = ReadLora(expected.path + "/second");
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  const auto bound = Model().BindMerged({{&*first, 0.7}, {&*second, -0.4}});
  ASSERT_TRUE(bound.ok()) << bound.status();
  ExpectAtMost(check, "scales 0.7 and -0.4", "relative error",
               RelativeError(Velocity(Model(), &*bound), expected.velocity), kTolerance);
  EXPECT_GT(bound->modules(), static_cast<int64_t>(first->modules.size()));
}

TEST(LoraImportTest, SaysWhatItLeftOutOfTheNames) {
  const auto stripped = [](const char* name) { return ReadLora(Expected(name).path).value().stripped; };
  EXPECT_THAT(stripped("wrapped_comfyui_model"), testing::ElementsAre("diffusion_model.", "model."));
  EXPECT_THAT(stripped("wrapped_fsdp"), testing::ElementsAre("_checkpoint_wrapped_module.", "_fsdp_wrapped_module."));
  EXPECT_THAT(stripped("wrapped_peft"), testing::ElementsAre("_orig_mod.", "module."));
  EXPECT_THAT(stripped("wrapped_kohya"), testing::ElementsAre("lora_unet_"));
  EXPECT_THAT(stripped("peft_plain"), testing::IsEmpty());
}

TEST(LoraImportTest, AScaleOfZeroAndNoAdapterAreTheBase) {
  const auto lora = ReadLora(Expected("peft_every_layer").path).value();
  const auto none = Model().BindMerged({{&lora, 0}}), empty = Model().BindMerged(std::vector<WeightedLora>());
  ASSERT_TRUE(none.ok() && empty.ok());
  const at::Tensor base = Velocity(Model(), nullptr);
  EXPECT_TRUE(Velocity(Model(), &*none).equal(base));
  EXPECT_TRUE(Velocity(Model(), &*empty).equal(base));
}

// Weights of 0.1 beside 100: bf16 would lose them between one adapter and the next.
TEST(LoraImportTest, MergesInF32WhateverTheModelsType) {
  const auto lora = ReadLora(Expected("peft_plain").path).value();
  const auto model = Transformer::Load(Root() + "/transformer", at::kBFloat16).value();
  const auto twice = model->BindMerged({{&lora, 1e3}, {&lora, -1e3}});
  ASSERT_TRUE(twice.ok());
  EXPECT_LT(RelativeError(Velocity(*model, &*twice), Velocity(*model, nullptr)), 0.02);
}

TEST(LoraImportTest, SaysWhichModulesThisModelLacksOrHasInAnotherSize) {
  ImportedLora lora{.source = "of-flux.safetensors"};
  for (const char* name : {"single_transformer_blocks.0.attn.to_q", "transformer_blocks.9.attn.to_k"})
    lora.modules.push_back({name, at::zeros({2, 48}), at::zeros({48, 2}), 2});
  lora.modules.push_back({"transformer_blocks.0.attn.to_q", at::zeros({2, 64}), at::zeros({64, 2}), 2});
  const absl::Status status = Model().BindMerged({{&lora}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("of-flux.safetensors: the adapter is for another model"));
  EXPECT_THAT(status.message(), HasSubstr("single_transformer_blocks.0.attn.to_q\" does not exist in this model"));
  EXPECT_THAT(status.message(), HasSubstr("transformer_blocks.9.attn.to_k\" does not exist"));
  EXPECT_THAT(status.message(), HasSubstr("to_q\" is [48,48] in this model, the adapter is for one of [64,64]"));
}

TEST(LoraImportTest, NamesTheFoldersBelowThatHoldAdapters) {
  const absl::Status status = ReadLora(Root() + "/diffusion_nft/checkpoints/checkpoint-100").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("checkpoint-100/lora, "));
  EXPECT_THAT(status.message(), HasSubstr("checkpoint-100/lora/old"));
}

}  // namespace
}  // namespace flowawr
