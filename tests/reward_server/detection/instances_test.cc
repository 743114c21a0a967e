#include "reward_server/detection/instances.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "reward_server/detection/detection_preprocess.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

constexpr char kRules[] = "mmdet's rules in torch";

const std::string& References() {
  static const TempFolder folder;
  static const bool is_made = [] {
    const auto result = RunPython("tests/reward_server/detection/instances_reference.py", {folder.path()});
    EXPECT_TRUE(result);
    return static_cast<bool>(result);
  }();
  EXPECT_TRUE(is_made);
  return folder.path();
}

class InstancesTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const auto file = SafetensorsFile::Open(absl::StrCat(References(), "/case_", GetParam(), ".safetensors"));
    ASSERT_TRUE(file.ok()) << file.status();
    tensors_ = file->tensors();
    const at::Tensor picture = Get("picture").contiguous();
    image_ = {static_cast<int>(picture.size(0)), static_cast<int>(picture.size(1)),
              std::string(static_cast<const char*>(picture.const_data_ptr()), picture.nbytes())};
    const at::Tensor settings = Get("settings");
    preprocess_.short_edge = settings[0].item<int64_t>();
    preprocess_.long_edge = settings[1].item<int64_t>();
    preprocess_.divisor = settings[2].item<int64_t>();
  }
  const at::Tensor& Get(const std::string& name) const { return tensors_.at(name); }

  std::map<std::string, at::Tensor> tensors_;
  Image image_;
  DetectionPreprocess preprocess_;
};

INSTANTIATE_TEST_SUITE_P(Pictures, InstancesTest, testing::Range(0, 5));

TEST_P(InstancesTest, MakesPicturesReadyAsMmdetDoes) {
  const DetectionPixels ready = PrepareForDetection(image_, preprocess_);
  EXPECT_EQ(ready.height, Get("resized")[0].item<int64_t>());
  EXPECT_EQ(ready.width, Get("resized")[1].item<int64_t>());
  ASSERT_EQ(ready.pixels.sizes(), Get("pixels").sizes());
  ExpectAtMost({"Mask2Former's preprocessing", "5 pictures, 33x100 to 120x90", kRules}, absl::StrCat(GetParam()),
               "largest error, levels of 256", (ready.pixels - Get("pixels")).abs().max().item<double>() * 57, 1.01);
}

// Which is also what transformers' image processor does where it makes a picture larger.
TEST_P(InstancesTest, EnlargesAsPillowDoesToWithinALevel) {
  if (image_.height > Get("resized")[0].item<int64_t>()) GTEST_SKIP() << "made smaller: Pillow antialiases";
  preprocess_.divisor = 1;
  preprocess_.mean = {0, 0, 0};
  preprocess_.std = {1.0 / 255, 1.0 / 255, 1.0 / 255};
  const at::Tensor ours = PrepareForDetection(image_, preprocess_).pixels[0].permute({1, 2, 0});
  EXPECT_LE((ours - Get("pillow").to(at::kFloat)).abs().max().item<double>(), 1.01);
}

TEST_P(InstancesTest, FindsWhatMmdetFinds) {
  const DetectionPixels ready = PrepareForDetection(image_, preprocess_);
  const at::Tensor scores = Get("scores");
  for (const double threshold : {0.0, 0.3}) {
    const int64_t count = scores.gt(threshold).sum().item<int64_t>();
    const std::vector<Instance> found =
        FindInstances(Get("class_logits"), Get("mask_logits"), ready, image_.height, image_.width,
                      {.most = 30, .min_score = threshold});
    ASSERT_EQ(static_cast<int64_t>(found.size()), count);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_NEAR(found[static_cast<size_t>(i)].score, scores[i].item<double>(), 1e-5);
      EXPECT_EQ(found[static_cast<size_t>(i)].label, Get("labels")[i].item<int64_t>());
      for (int64_t side = 0; side < 4; ++side)
        EXPECT_EQ(found[static_cast<size_t>(i)].box[static_cast<size_t>(side)], Get("boxes")[i][side].item<float>());
      EXPECT_TRUE(found[static_cast<size_t>(i)].mask.equal(Get("masks")[i].to(at::kBool)));
    }
  }
}

TEST(DetectionPreprocessTest, FollowsTheFolderWhereItSaysWhatGenevalCanMean) {
  const TempFolder folder;
  EXPECT_EQ(LoadDetectionPreprocess(folder.path())->short_edge, 800);
  const auto with = [&](const std::string& json) {
    folder.Write("preprocessor_config.json", json);
    return LoadDetectionPreprocess(folder.path());
  };
  auto preprocess = with(R"({"size": {"shortest_edge": 96, "longest_edge": 128}, "size_divisor": 16,
                             "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
                             "rescale_factor": 0.00392156862745098})");
  ASSERT_TRUE(preprocess.ok()) << preprocess.status();
  EXPECT_EQ(preprocess->short_edge, 96);
  EXPECT_EQ(preprocess->long_edge, 128);
  EXPECT_EQ(preprocess->divisor, 16);
  EXPECT_EQ(preprocess->mean[2], 0.5);
  EXPECT_EQ(preprocess->std[0], 0.25);
  EXPECT_FALSE(with(R"({"do_resize": false})")->do_resize);
  EXPECT_EQ(with(R"({"size": {"height": 384, "width": 384}})")->long_edge, 1333);
  EXPECT_THAT(with(R"({"do_normalize": false})").status().message(), HasSubstr("do_normalize must be true"));
  EXPECT_THAT(with(R"({"image_std": [0, 1, 1]})").status().message(), HasSubstr("image_std must be 3 numbers"));
  EXPECT_THAT(with(R"({"size": {"shortest_edge": 0}})").status().message(), HasSubstr("shortest_edge"));
}

TEST(DetectionPreprocessTest, TakesPicturesOfASinglePixel) {
  const DetectionPixels ready = PrepareForDetection({1, 1, "abc"}, {.short_edge = 40});
  EXPECT_EQ(ready.pixels.sizes(), at::IntArrayRef({1, 3, 64, 64}));
}

}  // namespace
}  // namespace flowawr
