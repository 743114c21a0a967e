#include "common/nn/lora_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

std::shared_ptr<const LoraLayout> Layout() {
  return std::make_shared<const LoraLayout>(
      LoraLayout{.rank = 4, .alpha = 8, .modules = {{"blocks.0.to_q", 300, 20}, {"blocks.0.to_k", 300, 30}}});
}

std::map<std::string, at::Tensor> TensorsOf(const LoraAdapter& adapter) {
  return SafetensorsFile::Parse(*adapter.SerializePeft(), "test")->tensors();
}

absl::Status Parse(const std::map<std::string, at::Tensor>& tensors) {
  return LoraAdapter::ParsePeft(*SerializeSafetensors(tensors), Layout()).status();
}

TEST(LoraAdapterTest, StartsWithGaussianAAndZeroB) {
  const LoraAdapter adapter = LoraAdapter::Initialise(Layout(), 3);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(adapter.A(i).std().item<double>(), 0.25, 0.03);
    EXPECT_NEAR(adapter.A(i).mean().item<double>(), 0, 0.04);
    EXPECT_EQ(adapter.B(i).abs().max().item<float>(), 0);
  }
  EXPECT_TRUE(adapter.flat().equal(LoraAdapter::Initialise(Layout(), 3).flat()));
  EXPECT_FALSE(adapter.flat().equal(LoraAdapter::Initialise(Layout(), 4).flat()));
}

TEST(LoraAdapterTest, MatricesCoverTheVectorOnce) {
  const LoraAdapter adapter(Layout(), at::zeros({Layout()->size()}));
  for (size_t i = 0; i < 2; ++i) {
    adapter.A(i).add_(1);
    adapter.B(i).add_(1);
  }
  EXPECT_TRUE(adapter.flat().eq(1).all().item<bool>());
}

TEST(LoraAdapterTest, CloneSharesNothing) {
  const LoraAdapter adapter = LoraAdapter::Initialise(Layout(), 3);
  adapter.Clone().flat().zero_();
  EXPECT_GT(adapter.flat().abs().max().item<float>(), 0);
}

TEST(LoraAdapterTest, SerializesAndParsesToTheSameBits) {
  const LoraAdapter adapter(Layout(), at::randn({Layout()->size()}));
  const auto again = LoraAdapter::ParsePeft(*adapter.SerializePeft(), Layout());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->flat().equal(adapter.flat()));
  EXPECT_EQ(*again->SerializePeft(), *adapter.SerializePeft());
}

TEST(LoraAdapterTest, RefusesTensorsThatDoNotFitAndNamesThem) {
  auto tensors = TensorsOf(LoraAdapter::Initialise(Layout(), 1));
  tensors.erase("base_model.model.blocks.0.to_q.lora_A.weight");
  tensors["base_model.model.blocks.0.to_k.lora_B.weight"] = at::zeros({30, 5});
  tensors["base_model.model.blocks.0.to_v.lora_B.weight"] = at::zeros({1});
  const absl::Status status = Parse(tensors);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("to_q.lora_A.weight\" is missing (expected [4,300])"));
  EXPECT_THAT(status.message(), HasSubstr("to_k.lora_B.weight\" is [30,5], expected [30,4]"));
  EXPECT_THAT(status.message(), HasSubstr("to_v.lora_B.weight\" [1] is unexpected"));
}

TEST(LoraAdapterTest, RefusesNumbersThatAreNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    auto tensors = TensorsOf(LoraAdapter::Initialise(Layout(), 1));
    at::Tensor& matrix = tensors["base_model.model.blocks.0.to_q.lora_B.weight"];
    matrix = matrix.clone();
    matrix[3][1] = bad;
    EXPECT_THAT(Parse(tensors).message(), HasSubstr("to_q.lora_B.weight\" holds NaN or infinity"));
  }
}

TEST(LoraAdapterTest, RefusesIntegersAndTruncatedFiles) {
  auto tensors = TensorsOf(LoraAdapter::Initialise(Layout(), 1));
  tensors["base_model.model.blocks.0.to_q.lora_B.weight"] = at::zeros({20, 4}, at::kInt);
  EXPECT_THAT(Parse(tensors).message(), HasSubstr("not of a floating-point type"));
  const std::string bytes = *LoraAdapter::Initialise(Layout(), 1).SerializePeft();
  EXPECT_FALSE(LoraAdapter::ParsePeft(bytes.substr(0, bytes.size() - 4), Layout()).ok());
}

}  // namespace
}  // namespace flowawr
