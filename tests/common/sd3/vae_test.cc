#include "common/sd3/vae.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

// The cases that vae_reference.py made, in one run of Python.
const std::string& References() {
  static const TempFolder folder;
  static const bool is_made = [] {
    at::set_num_threads(1);
    const auto result = RunPython("tests/common/sd3/vae_reference.py", {folder.path()});
    EXPECT_TRUE(result);
    return static_cast<bool>(result);
  }();
  EXPECT_TRUE(is_made);
  return folder.path();
}

double MaxError(const at::Tensor& actual, const at::Tensor& expected) {
  return actual.sizes() == expected.sizes() ? (actual.to(at::kCPU) - expected).abs().max().item<double>() : 1e30;
}

// Where the models are.
at::Tensor Placed(const at::Tensor& x) { return x.to(TestPlacement(at::kFloat).device); }

constexpr char kSizes[] = "models/tiny-sd3 and 4 random ones, 3 levels, 48x32 pixels";
constexpr char kClass[] = "diffusers AutoencoderKL";

class VaeParityTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Cases, VaeParityTest,
                         testing::Values("attention", "plain", "quant_convs", "sd3_like", "embedded"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(VaeParityTest, MatchesDiffusers) {
  const std::string folder = absl::StrCat(References(), "/", GetParam());
  const auto vae = Vae::Load(folder + "/vae", TestPlacement(at::kFloat));
  ASSERT_TRUE(vae.ok()) << vae.status();
  const auto file = SafetensorsFile::Open(folder + "/case.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*vae)->downscale(), 4);
  const auto& tensors = file->tensors();
  ExpectAtMost({"VAE decode, f32", kSizes, kClass}, GetParam(), "largest error of values from 0 to 1",
               MaxError((*vae)->Decode(Placed(tensors.at("latents"))), tensors.at("decoded")), 1e-5);
  ExpectAtMost({"VAE encode, f32", kSizes, kClass}, GetParam(), "largest error",
               MaxError((*vae)->EncodeMean(Placed(tensors.at("images"))), tensors.at("mean")), 1e-4);
}

TEST_P(VaeParityTest, IsInLowPrecisionNoFurtherOffThanDiffusers) {
  const std::string folder = absl::StrCat(References(), "/", GetParam());
  const auto vae = Vae::Load(folder + "/vae", TestPlacement(at::kBFloat16));
  ASSERT_TRUE(vae.ok()) << vae.status();
  const auto file = SafetensorsFile::Open(folder + "/case.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& tensors = file->tensors();
  const auto distance = [&](const at::Tensor& x, const char* exact) { return RelativeError(x, tensors.at(exact)); };
  ExpectNoFurther({"VAE decode, bf16", kSizes, kClass}, GetParam(),
                  distance((*vae)->Decode(Placed(tensors.at("latents"))), "decoded"),
                  distance(tensors.at("decoded_bf16"), "decoded"));
  ExpectNoFurther({"VAE encode, bf16", kSizes, kClass}, GetParam(),
                  distance((*vae)->EncodeMean(Placed(tensors.at("images"))), "mean"),
                  distance(tensors.at("mean_bf16"), "mean"));
}

TEST(VaeTest, ListsEveryTensorThatDoesNotFit) {
  const std::string folder = References() + "/plain/vae";
  const std::string weights = folder + "/diffusion_pytorch_model.safetensors";
  const TempFolder copy;
  std::filesystem::copy_file(folder + "/config.json", copy / "config.json");
  auto tensors = SafetensorsFile::Open(weights)->tensors();
  tensors.erase("decoder.conv_out.bias");
  tensors["encoder.conv_in.weight"] = at::zeros({8, 4, 3, 3});
  tensors["surplus"] = at::zeros({1});
  ASSERT_TRUE(WriteSafetensors(copy / "diffusion_pytorch_model.safetensors", tensors).ok());
  const absl::Status status = Vae::Load(copy.path(), at::kFloat).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("\"decoder.conv_out.bias\" is missing"));
  EXPECT_THAT(status.message(), HasSubstr("\"encoder.conv_in.weight\" is [8,4,3,3], expected [8,3,3,3]"));
  EXPECT_THAT(status.message(), HasSubstr("\"surplus\" [1] is unexpected"));
}

TEST(VaeConfigTest, RefusesWhatItDoesNotKnow) {
  const absl::Status status =
      ParseVaeConfig(
          R"({"act_fn": "relu", "latents_mean": [0.1], "block_out_channels": [30], "norm_num_groups": 8,
          "down_block_types": ["AttnDownEncoderBlock2D"]})",
          "config.json")
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("act_fn must be silu"));
  EXPECT_THAT(status.message(), HasSubstr("field \"latents_mean\""));
  EXPECT_THAT(status.message(), HasSubstr("30 channels do not divide into 8"));
  EXPECT_THAT(status.message(), HasSubstr("AttnDownEncoderBlock2D"));
}

}  // namespace
}  // namespace flowawr
