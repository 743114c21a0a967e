#include "reward_server/detection/mask2former.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "tests/reward_server/detection/mask2former_parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

// The cases that mask2former_reference.py made, in one run of Python.
const std::string& References() {
  static const TempFolder folder;
  static const bool is_made = [] {
    at::set_num_threads(1);
    const auto result = RunPython("tests/reward_server/detection/mask2former_reference.py",
                                  {folder.path(), "plain", "padded", "projected"});
    EXPECT_TRUE(result);
    return static_cast<bool>(result);
  }();
  EXPECT_TRUE(is_made);
  return folder.path();
}

class Mask2FormerParityTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Cases, Mask2FormerParityTest, testing::Values("plain", "padded", "projected"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Mask2FormerParityTest, MatchesTransformersPartByPart) {
  ExpectMask2FormerParity(absl::StrCat(References(), "/", GetParam()), GetParam(), /*is_slow=*/false);
}

TEST_P(Mask2FormerParityTest, IsInLowPrecisionNoFurtherOffThanTransformers) {
  ExpectMask2FormerBf16Parity(absl::StrCat(References(), "/", GetParam()), GetParam());
}

TEST(Mask2FormerTest, GivesAnImageTheSameBitsInEveryBatch) {
  const std::string folder = References() + "/plain";
  const auto model = Mask2Former::Load(folder, at::kFloat);
  ASSERT_TRUE(model.ok()) << model.status();
  const at::Tensor pixels = SafetensorsFile::Open(folder + "/case.safetensors")->tensors().at("pixels");
  const auto both = (*model)->Forward(pixels, kAlways);
  for (int64_t i = 0; i < 2; ++i) {
    const auto alone = (*model)->Forward(pixels.narrow(0, i, 1), kAlways);
    EXPECT_TRUE(alone->class_logits[0].equal(both->class_logits[i]));
    EXPECT_TRUE(alone->mask_logits[0].equal(both->mask_logits[i]));
  }
}

TEST(Mask2FormerTest, StopsBetweenLayersWhenItIsToldTo) {
  const auto model = Mask2Former::Load(References() + "/plain", at::kFloat);
  ASSERT_TRUE(model.ok()) << model.status();
  int asked = 0;
  const auto twice = [&asked] {
    return ++asked <= 2 ? absl::OkStatus() : absl::CancelledError("nobody waits");
  };
  EXPECT_EQ((*model)->Forward(at::zeros({1, 3, 64, 64}), twice).status(), absl::CancelledError("nobody waits"));
  EXPECT_EQ(asked, 3);
}

TEST(Mask2FormerTest, KnowsItsClassesAndWeights) {
  const auto model = Mask2Former::Load(References() + "/plain", at::kFloat);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->config().class_names,
              testing::ElementsAre("class 0", "class 1", "class 2", "class 3", "class 4"));
  EXPECT_EQ((*model)->weights_sha256().size(), 64);
  EXPECT_GT((*model)->memory_bytes(), 100'000);
}

TEST(Mask2FormerTest, ListsEveryTensorThatDoesNotFit) {
  const std::string folder = References() + "/plain";
  const TempFolder copy;
  std::filesystem::copy_file(folder + "/config.json", copy / "config.json");
  auto tensors = SafetensorsFile::Open(folder + "/model.safetensors")->tensors();
  tensors.erase("class_predictor.bias");
  tensors["model.pixel_level_module.decoder.level_embed"] = at::zeros({4, 32});
  tensors["surplus"] = at::zeros({1});
  ASSERT_TRUE(WriteSafetensors(copy / "model.safetensors", tensors).ok());
  const absl::Status status = Mask2Former::Load(copy.path(), at::kFloat).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("\"class_predictor.bias\" is missing"));
  EXPECT_THAT(status.message(),
              HasSubstr("\"model.pixel_level_module.decoder.level_embed\" is [4,32], expected [3,32]"));
  EXPECT_THAT(status.message(), HasSubstr("\"surplus\" [1] is unexpected"));
}

TEST(Mask2FormerTest, ReadsWhatIsConvertedFromMmdet) {
  const TempFolder folder;
  ASSERT_TRUE(RunPython("tests/reward_server/detection/convert_mask2former.py", {folder.path()}));
  const auto published = Mask2Former::Load(folder / "published", at::kFloat);
  const auto converted = Mask2Former::Load(folder / "converted", at::kFloat);
  ASSERT_TRUE(published.ok()) << published.status();
  ASSERT_TRUE(converted.ok()) << converted.status();
  EXPECT_EQ((*converted)->config().class_names, (*published)->config().class_names);
  const at::Tensor pixels = at::randn({1, 3, 64, 96});
  const auto ours = (*converted)->Forward(pixels, kAlways), theirs = (*published)->Forward(pixels, kAlways);
  EXPECT_TRUE(ours->mask_logits.equal(theirs->mask_logits));
}

TEST(Mask2FormerConfigTest, RefusesWhatItDoesNotCompute) {
  const absl::Status status =
      ParseMask2FormerConfig(R"({"model_type": "maskformer", "pre_norm": true, "activation_function": "gelu",
                                 "feature_size": 40, "feature_strides": [4, 8, 16]})",
                             "config.json")
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* part : {"model_type is \"maskformer\"", "pre_norm", "activation_function must be relu",
                           "feature_size must be a multiple of 32", "feature_strides must be 4, 8, 16, 32"})
    EXPECT_THAT(status.message(), HasSubstr(part));
}

TEST(Mask2FormerConfigTest, RefusesBackbonesAndLabelsThatDoNotFit) {
  const auto parse = [](const std::string& backbone, const std::string& labels) {
    return ParseMask2FormerConfig(absl::StrCat(R"({"backbone_config": )", backbone, R"(, "id2label": )", labels, "}"),
                                  "config.json")
        .status();
  };
  const std::string swin = R"({"model_type": "swin"})", labels = R"({"0": "circle"})";
  EXPECT_TRUE(parse(swin, labels).ok()) << parse(swin, labels);
  EXPECT_THAT(parse(R"({"model_type": "resnet"})", labels).message(), HasSubstr("only Swin backbones"));
  EXPECT_THAT(parse(R"({"depths": [2, 2]})", labels).message(), HasSubstr("must have 4 entries"));
  EXPECT_THAT(parse(R"({"embed_dim": 100})", labels).message(), HasSubstr("do not divide into 3 heads"));
  EXPECT_THAT(parse(R"({"patch_size": 8})", labels).message(), HasSubstr("patch_size must be 4"));
  EXPECT_THAT(parse(R"({"hidden_act": "relu"})", labels).message(), HasSubstr("hidden_act must be gelu"));
  EXPECT_THAT(parse(swin, R"({"1": "circle"})").message(), HasSubstr("0 has none"));
  EXPECT_THAT(parse(swin, "null").message(), HasSubstr("id2label must name the classes"));
}

}  // namespace
}  // namespace flowawr
